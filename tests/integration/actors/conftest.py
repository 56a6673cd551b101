"""Every test of real processes leaves nothing behind: no child process and no open file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.processes import children_of


def open_files() -> set[str]:
    return set(os.listdir("/dev/fd"))


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    files, children = len(open_files()), {child.pid for child in children_of(os.getpid())}
    yield
    assert {child.pid for child in children_of(os.getpid())} <= children
    assert len(open_files()) <= files
