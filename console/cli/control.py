"""One call on a live run's control socket, for commands that ask once and end. What may go wrong is a sentence.

A module of commands' insides: it imports what it needs when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

Reply = TypeVar("Reply", bound="Message")
ANSWER_SECONDS = 10.0
CHANGE_SECONDS = 180.0
"""A worker may take its whole time to start, or to stop."""


def ask(
    run: Path, method: str, request: Message, reply: type[Reply], *, within_seconds: float = ANSWER_SECONDS
) -> Reply:
    """What the run answers to `method` of the Control service.

    Raises:
        UsageError: `run` is no run's folder.
        RunFolderError: it is not running, or its socket cannot be reached.
        RunError: it does not answer in time.
    """
    import trio

    from runtime.errors import PeerLost, ProtocolError, RunError, RunFolderError
    from runtime.rpc import GrpcNetwork

    address = address_of(run)

    async def call() -> Reply:
        async with GrpcNetwork.open() as network, network.connect(address, name="command") as channel:
            return await channel.unary(f"/mlxd.Control/{method}", request, reply, within=within_seconds)

    try:
        return trio.run(call)
    except PeerLost as lost:
        raise RunFolderError(f"{run} does not take calls: {lost}; it may have ended in this moment") from lost
    except trio.TooSlowError as slow:
        raise RunError(f"{run} has not answered within {within_seconds:g} s; look at its logs folder") from slow
    except ProtocolError as failed:
        raise RunError(f"{run}: {failed}") from failed


def address_of(run: Path) -> str:
    """Where a live run's control socket is; raises UsageError or RunFolderError (see `ask`)."""
    from runtime.app.run_lock import LOCK_NAME, owner_of
    from runtime.errors import RunFolderError, UsageError

    if not (run / LOCK_NAME).is_file() and not (run / "events.jsonl").is_file():
        raise UsageError(f"{run} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart")
    if owner_of(run) is None:
        raise RunFolderError(f"{run} is not running on this machine; `mlx-distributed audit {run}` tells what it did")
    named = run.resolve() / "control.sock"
    path = named.readlink() if named.is_symlink() else named
    if not path.exists():
        raise RunFolderError(f"{run} has no control socket: it is just starting or ending; try again in a moment")
    return f"unix:{path}"


def me() -> str:
    """Who asks, for the journal."""
    import getpass

    try:
        return f"{getpass.getuser()} on the command line"
    except (KeyError, OSError):  # a user id without a name
        return "the command line"


def as_json(message: Message) -> dict[str, Any]:
    """A message as plain JSON values: every field, numbers as numbers."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            found[field.name] = [as_json(one) if field.message_type else one for one in value]
        else:
            found[field.name] = value
    return found
