"""A run on another machine as the user types it, and the command line of the ssh client that reaches it. Pure.

The system's own client is used, so that ~/.ssh/config, the agent, jump hosts and the user's masters work as always.
Nothing here changes how host keys are checked.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

SCHEME = "ssh://"
UNIX = "unix:"
"""What a target begins with that is the control socket of a run of this machine."""
REMOTE_COMMAND = "mlx-distributed"
_ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")


class NotATarget(ValueError):
    """What was typed names no machine; its text says why, and what to type."""


@dataclass(frozen=True)
class SshTarget:
    """`ssh://[user@]host[:port][/run]`."""

    host: str
    user: str = ""
    port: int = 0
    """0: whatever ~/.ssh/config says."""
    run: str = ""
    """A run's folder over there; empty: the one that lives."""

    @classmethod
    def parse(cls, text: str) -> SshTarget:
        """The target that `text` names. Raises NotATarget."""
        if not text.startswith(SCHEME):
            raise NotATarget(f"{text!r} is no target; write {SCHEME}[user@]host[:port][/run]")
        place, _, run = text.removeprefix(SCHEME).partition("/")
        user, at, rest = place.rpartition("@")
        host, port = _host_and_port(rest, text)
        if at and not user:
            raise NotATarget(f"{text!r} has no user before its @; leave the @ away, or name one")
        for word in (host, user):
            if word.startswith("-"):  # ssh would take it for an option
                raise NotATarget(f"{text!r}: a name cannot begin with a dash")
            if any(each.isspace() or not each.isprintable() for each in word):
                raise NotATarget(f"{text!r}: a name has no blanks and no control characters")
        return cls(host, user, port, run.rstrip("/"))

    @property
    def destination(self) -> str:
        """What ssh calls it: `[user@]host`."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def machine(self) -> str:
        """`[user@]host[:port]`, for a person."""
        return f"{self.destination}:{self.port}" if self.port else self.destination

    def __str__(self) -> str:
        return f"{SCHEME}{self.machine}" + (f"/{self.run}" if self.run else "")


@dataclass(frozen=True)
class Ssh:
    """How to call: what the person who started the console chose."""

    program: tuple[str, ...] = ("ssh",)
    """The client, with options of its own."""
    remote_command: str = REMOTE_COMMAND
    """What is called over there; words of a shell."""
    operate: bool = False
    """Ask for a bridge that may change the run; else for one that can only look."""

    def dial(self, target: SshTarget) -> list[str]:
        """The command that bridges its stdin and stdout to the run. It asks nothing, on no terminal."""
        words = [self.remote_command, "dial-stdio"]
        if not self.operate:
            words.append("--read-only")
        if target.run:
            words += ["--", shlex.quote(target.run)]
        options = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *_ALIVE)
        return [*self.program, *options, *_port(target), "--", target.destination, " ".join(words)]

    def over_there(self, target: SshTarget, words: Sequence[str]) -> list[str]:
        """The command that runs `mlx-distributed WORDS` on the machine. It asks nothing, on no terminal."""
        told = " ".join([self.remote_command, *map(shlex.quote, words)])
        options = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *_ALIVE)
        return [*self.program, *options, *_port(target), "--", target.destination, told]

    def knock(self, target: SshTarget) -> list[str]:
        """The command that only finds out whether ssh would ask something."""
        options = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *_port(target))
        return [*self.program, *options, "--", target.destination, "true"]

    def ask(self, target: SshTarget) -> list[str]:
        """The command with which ssh may ask its questions (host key, passphrase, password) in a terminal."""
        return [*self.program, "-T", "-o", "ConnectTimeout=10", *_port(target), "--", target.destination, "true"]

    def settings(self, target: SshTarget) -> list[str]:
        """The command that prints what ~/.ssh/config makes of the target."""
        return [*self.program, "-G", *_port(target), "--", target.destination]

    def by_hand(self, target: SshTarget, *words: str) -> str:
        """What a person types to do something over there."""
        return shlex.join([*self.program, *_port(target), target.destination, *words])


def _host_and_port(text: str, whole: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif not colon:
        host = text
    if not host:
        raise NotATarget(f"{whole!r} names no host; write {SCHEME}[user@]host[:port][/run]")
    if not colon:
        return host, 0
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise NotATarget(f"{whole!r}: {port!r} is no port; it is a number from 1 to 65535")
    return host, int(port)


def _port(target: SshTarget) -> tuple[str, ...]:
    return ("-p", str(target.port)) if target.port else ()
