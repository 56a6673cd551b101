"""What every test gets: one BLAS thread, no hub, no network client chatter, and nothing left behind by a slow one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

os.environ.update(  # before anything imports MLX, OpenBLAS, gRPC or transformers; children inherit it
    OPENBLAS_NUM_THREADS="1",
    OMP_NUM_THREADS="1",
    GRPC_ENABLE_FORK_SUPPORT="0",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    WANDB_MODE="disabled",
)

import hypothesis

from tests.support.processes import Seen, children_of, kill_all
from tests.support.waiting import WaitedTooLong, until

OURS = {"deadline": None, "print_blob": True}  # a busy machine is no failure
hypothesis.settings.register_profile("ours", **OURS)
hypothesis.settings.register_profile(  # the same examples every time, and fewer: more would be the same again
    "ci", **OURS, derandomize=True, max_examples=50
)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "ours")

LEAK_GUARD_SECONDS = 60.0
LIVES_ON = ("Trio thread", "pytest_timeout", "_poll_wrapper")
"""Threads that a library keeps for its next use: trio's cache, the hang guard, grpc.aio's poller."""


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test marked `slow`, the processes and threads that it started are gone; what is not fails that test."""
    if request.node.get_closest_marker("slow") is None:
        yield
        return
    old_pids = {child.pid for child in children_of(os.getpid())}
    old_threads = set(threading.enumerate())
    yield
    try:
        until(
            lambda: not new_children(old_pids) and not new_threads(old_threads),
            within_seconds=LEAK_GUARD_SECONDS,
            what=lambda: f"left behind: {new_children(old_pids)} {new_threads(old_threads)}",
        )
    except WaitedTooLong as leak:
        pytest.fail(str(leak))
    finally:
        kill_all(new_children(old_pids))


def new_children(old_pids: set[int]) -> list[Seen]:
    """Living child processes that were not there before."""
    return [child for child in children_of(os.getpid()) if child.pid not in old_pids]


def new_threads(old: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that were not there before and that no library keeps on purpose."""
    fresh = set(threading.enumerate()) - old
    return [thread for thread in fresh if not any(name in thread.name for name in LIVES_ON)]
