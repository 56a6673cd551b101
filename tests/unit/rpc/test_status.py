"""Failures on the wire and back: the table of status.py, line by line."""

from __future__ import annotations

import pytest
import trio

from runtime.errors import Aborted, PeerLost, StaleGeneration
from runtime.rpc.auth import admits, metadata_for, new_token
from runtime.rpc.status import OK, CallFailed, Status, StatusError, error_of, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StaleGeneration("old"), Status("FAILED_PRECONDITION", "old")),
        (Aborted("stop"), Status("ABORTED", "stop")),
        (PeerLost("another peer"), Status("INTERNAL", "PeerLost: another peer")),
        (trio.TooSlowError(), Status("INTERNAL", "TooSlowError: ")),
        (StatusError(OK), OK),
        (ExceptionGroup("", [ExceptionGroup("", [KeyError("x")]), ValueError()]), Status("INTERNAL", "KeyError: 'x'")),
    ],
)
def test_a_handlers_exception_becomes_a_status(error: Exception, status: Status) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (OK, PeerLost, "/p at a:1: the other side has ended this call"),
        (Status("UNAVAILABLE", "reset"), PeerLost, "/p at a:1: the connection is gone (reset)"),
        (Status("CANCELLED", ""), PeerLost, "/p at a:1: the connection is gone (CANCELLED)"),
        (Status("DEADLINE_EXCEEDED", ""), trio.TooSlowError, "/p at a:1: no answer within the deadline"),
        (Status("FAILED_PRECONDITION", "join again"), StaleGeneration, "join again"),
        (Status("ABORTED", "worker 1 died"), Aborted, "worker 1 died"),
        (Status("INTERNAL", "ValueError: x"), CallFailed, "/p at a:1: INTERNAL: ValueError: x"),
    ],
)
def test_a_status_becomes_the_callers_exception(status: Status, kind: type[Exception], sentence: str) -> None:
    error = error_of(status, "/p at a:1")
    assert type(error) is kind
    assert str(error) == sentence


def test_a_token_admits_itself_and_nothing_else() -> None:
    token = new_token()
    assert admits(token, metadata_for("worker-0", token))
    assert admits(None, metadata_for("worker-0", token))
    assert not admits(token, metadata_for("worker-0", None))
    assert not admits(token, metadata_for("worker-0", new_token()))
    assert not admits(token, {"authorization": token})
    assert not admits(token, {"authorization": "Bearer ü"})
