"""How another machine is called: by the system's own ssh, so that ~/.ssh/config, agent and jump hosts work as always.

Nothing here changes how host keys are checked, and nothing is asked on a terminal: whoever starts a run is away when a
link has to be made again. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

PROGRAM = ("ssh",)
"""The client, without options of its own."""
FAILED = 255
"""Its exit code when it could not come in, or lost the connection; else it is that of the command over there."""
ALIVE_SECONDS = 5
"""How often it asks the other side whether it is there; three questions without an answer end it."""
_OPTIONS = (
    "-T",
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=10"),
    *("-o", f"ServerAliveInterval={ALIVE_SECONDS}"),
    *("-o", "ServerAliveCountMax=3"),
)


def node_command(program: Sequence[str], host: str, remote_command: str) -> tuple[str, ...]:
    """The command line that starts a node agent on `host`, "[user@]host[:port]"; `remote_command`: words of a shell."""
    name, port = parted(host)
    ports = ("-p", str(port)) if port else ()
    return (*program, *_OPTIONS, *ports, "--", name, f"{remote_command} node")


def by_hand(program: Sequence[str], host: str, *words: str) -> str:
    """What a person types to do something over there."""
    name, port = parted(host)
    return " ".join([*program, *(("-p", str(port)) if port else ()), name, *words])


def parted(host: str) -> tuple[str, int]:
    """("[user@]host", port); port 0: whatever ~/.ssh/config says. Brackets of an IPv6 address are taken off."""
    user, at, rest = host.rpartition("@")
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = rest.partition(":")
    return f"{user}{at}{name}", int(port or 0)


def own_address(environment: Mapping[str, str] = os.environ) -> str:
    """Where whoever came in through sshd reaches this machine, as sshd says it; loopback where none says anything."""
    words = environment.get("SSH_CONNECTION", "").split()
    address = words[2] if len(words) == 4 else "127.0.0.1"
    return f"[{address}]" if ":" in address else address
