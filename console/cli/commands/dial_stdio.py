"""`mlx-distributed dial-stdio [RUN]`: the far end of `ssh HOST`: gRPC from stdin to a live run, and back to stdout.

With --read-only it knows the run's Monitor service and nothing else. As a forced command it is all that a key can do:

    restrict,command="mlx-distributed dial-stdio --read-only" ssh-ed25519 AAAA... viewer
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from console.client.relay import Rewrite, Way

HELP = "bridge stdin and stdout to a live run, for ssh: `ssh -T HOST mlx-distributed dial-stdio`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and whether it may be changed."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="a live run's folder; without it the only one that lives")
    parser.add_argument("--read-only", action="store_true", help="nobody at the other end can change the run")


def run(args: argparse.Namespace) -> int:
    """Bridge until either side ends. Raises UsageError or RunFolderError where there is no run to bridge to."""
    import asyncio
    import os
    import sys

    from console.cli.control import address_of
    from runtime.errors import UsageError

    if sys.stdin.isatty():
        raise UsageError("dial-stdio speaks gRPC, not to a terminal; look at a run with: mlx-distributed status RUN")
    wanted = args.run or asked_by_force(os.environ)
    folder = run_named(wanted)
    address_of(folder)
    ways = ways_to(folder, read_only=args.read_only, via=via(os.environ))
    asyncio.run(_bridged(ways))
    return 0


def asked_by_force(environment: Mapping[str, str]) -> str:
    """The RUN that the client asked for, where sshd runs this command whatever the client asks for; "" for none.

    Only that is taken from it. Raises UsageError where the client asked for something else altogether.
    """
    import shlex

    from runtime.errors import UsageError

    original = environment.get("SSH_ORIGINAL_COMMAND")
    if original is None:
        return ""
    try:
        words = shlex.split(original)
    except ValueError:
        words = []
    if "dial-stdio" not in words:
        raise UsageError("this key may only look at runs: attach with mlx-distributed console --attach ssh://HOST")
    rest = [word for word in words[words.index("dial-stdio") + 1 :] if not word.startswith("-")]
    return rest[0] if rest else ""


def run_named(name: str) -> Path:
    """The folder of the run: a path (from the home folder, where ssh begins), or the only run that lives.

    Raises UsageError where several live, RunFolderError where none does.
    """
    from runtime.app.register import living_runs

    if name:
        path, absolute = Path(name).expanduser(), Path("/", name)
        is_there = path.exists() or not absolute.exists()
        return path if is_there else absolute  # ssh://host/home/kim/run
    return only_one(living_runs())


def only_one(runs: Sequence[Path]) -> Path:
    """The run that is meant where none was named. Raises as `run_named` does."""
    from runtime.errors import RunFolderError, UsageError

    if not runs:
        raise RunFolderError("no run of yours lives on this machine; start one: mlx-distributed run CONFIG")
    if len(runs) > 1:
        names = ", ".join(map(str, runs))
        raise UsageError(f"{len(runs)} runs live on this machine; name one of {names}")
    return runs[0]


def via(environment: Mapping[str, str]) -> str:
    """`via ssh from 192.0.2.7`: what is added to who it was, where sshd says it."""
    client = environment.get("SSH_CONNECTION", "").split(" ")[0]
    return f"via ssh from {client}" if client else "via a bridge"


def ways_to(folder: Path, *, read_only: bool, via: str) -> dict[str, Way]:
    """What the bridge passes on, and to where."""
    from console.client.relay import CONTROL, MONITOR, STEERING, WATCHING, Way
    from console.client.stream import control_of, monitor_of

    ways = {MONITOR: Way(monitor_of(folder), WATCHING)}
    if not read_only:

        async def control() -> str:
            return control_of(folder)

        ways[CONTROL] = Way(control, STEERING, {"Propose": stamp(via)})
    return ways


def stamp(via: str) -> Rewrite:
    """Says in each proposal by which way it came: the audit believes this side."""
    from mlxd_wire import control_pb2 as pb

    def stamped(message: bytes) -> bytes:
        action = pb.Action.FromString(message)
        action.by = f"{action.by or 'somebody'} {via}"
        return action.SerializeToString()

    return stamped


async def _bridged(ways: Mapping[str, Way]) -> None:
    """stdin and stdout are the connection of a server that has no other."""
    import asyncio
    import os
    import sys
    import tempfile

    from console.client.bridge import bridge
    from console.client.relay import relaying
    from runtime.config.private_folder import private_folder, socket_path

    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(dir=private_folder(), prefix="d") as folder:
        socket = socket_path(Path(folder), "s")
        async with relaying(ways, socket):
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
            out, protocol = await loop.connect_write_pipe(
                lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(os.dup(1), "wb", 0)
            )
            writer = asyncio.StreamWriter(out, protocol, None, loop)
            os.dup2(2, 1)  # whoever prints by mistake talks to stderr
            sys.stdout.flush()
            theirs = await asyncio.open_unix_connection(socket)
            await bridge((reader, writer), theirs)
