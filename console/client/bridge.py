"""Bytes from one pair of streams to another and back, until either side ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

CHUNK_BYTES = 64 * 1024


class Source(Protocol):
    """Where bytes come from."""

    async def read(self, n: int = -1, /) -> bytes:
        """At most `n` bytes; none at the end."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> None:
        """Take them."""

    async def drain(self) -> None:
        """Wait until there is room for more: who reads slowly is waited for."""


async def carry(source: Source, sink: Sink) -> int:
    """Everything from `source` to `sink`; returns how many bytes, when either of them has ended."""
    carried = 0
    with suppress(ConnectionError):
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
            carried += len(data)
    return carried


async def bridge(one: tuple[Source, Sink], other: tuple[Source, Sink]) -> None:
    """Both ways, until the first of them has ended."""
    ways = [asyncio.create_task(carry(one[0], other[1])), asyncio.create_task(carry(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
