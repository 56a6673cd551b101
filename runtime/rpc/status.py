"""How a failure crosses the wire, and what it becomes on the other side. Pure; shared by both networks.

in the handler                        status on the wire       at the caller
StaleGeneration                       FAILED_PRECONDITION      StaleGeneration
Aborted                               ABORTED                  Aborted
the caller's deadline passed          DEADLINE_EXCEEDED        trio.TooSlowError (unless the caller's own scope won)
any other exception                   INTERNAL "Type: text"    CallFailed
no such method                        UNIMPLEMENTED            CallFailed
wrong or missing token                UNAUTHENTICATED          CallFailed
the server stops, or is gone          UNAVAILABLE              PeerLost
the connection was closed             CANCELLED                PeerLost
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from runtime.errors import Aborted, PeerLost, ProtocolError, StaleGeneration


class Status(NamedTuple):
    """A gRPC status: the name of its code and a text."""

    code: str
    details: str


class CallFailed(ProtocolError):
    """The other side is alive and answered with a failure that no retry will cure."""

    def __init__(self, sentence: str, status: Status) -> None:
        self.status = status
        super().__init__(sentence)


OK = Status("OK", "")
SERVER_STOPPING = Status("UNAVAILABLE", "the server is stopping")
DEADLINE_PASSED = Status("DEADLINE_EXCEEDED", "the caller's deadline passed")
UNAUTHENTICATED = Status("UNAUTHENTICATED", "the token is missing or wrong")


class StatusError(Exception):
    """Carries a status through a pipe on the server's side."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(status.details)


def status_of(error: Exception) -> Status:
    """The status that a handler's exception becomes. A group is told by its first leaf, the likeliest cause."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, StatusError):
        return error.status
    if isinstance(error, StaleGeneration):
        return Status("FAILED_PRECONDITION", str(error))
    if isinstance(error, Aborted):
        return Status("ABORTED", str(error))
    return Status("INTERNAL", f"{type(error).__name__}: {error}")


def error_of(status: Status, target: str) -> Exception:
    """The exception for a caller that still wants something of a call to `target` that ended with `status`."""
    code, details = status
    if code == "OK":
        return PeerLost(f"{target}: the other side has ended this call")
    if code in {"UNAVAILABLE", "CANCELLED"}:
        return PeerLost(f"{target}: the connection is gone ({details or code})")
    if code == "DEADLINE_EXCEEDED":
        return trio.TooSlowError(f"{target}: {details or 'no answer within the deadline'}")
    if code == "FAILED_PRECONDITION":
        return StaleGeneration(details)
    if code == "ABORTED":
        return Aborted(details)
    if code == "UNAUTHENTICATED":
        return CallFailed(f"{target}: refused, {details}; give both sides the same token", status)
    if code == "UNIMPLEMENTED":
        return CallFailed(f"{target}: no such method there; both sides must run the same version", status)
    return CallFailed(f"{target}: {code}: {details}", status)
