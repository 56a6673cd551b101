"""A nursery for tasks that serve the body and report their own failures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio


@contextlib.asynccontextmanager
async def service_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled when its body ends, and lets a single exception out bare.

    trio wraps whatever leaves a nursery in a group. Where only the body can fail, the group would tell nothing and
    would hide the exception from the `except` of the caller.
    """
    bare: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        bare = group.exceptions[0]
    if bare is not None:
        raise bare
