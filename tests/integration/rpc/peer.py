"""A process on the other side: serves or calls, and tells on stdout what happens. Started by the tests here."""

from __future__ import annotations

import sys
import time

import trio

from runtime.errors import PeerLost
from runtime.rpc import Call, GrpcNetwork, Service, Stream, StreamMethod

ECHO = "/test.Peer/Echo"


async def echo(stream: Stream[bytes, bytes], call: Call) -> None:
    tell(f"call {call.caller}")
    try:
        async for message in stream:
            await stream.send(message)
    finally:
        tell(f"over {call.caller}")


async def serve(listen: str) -> None:
    async with (
        GrpcNetwork.open() as network,
        network.serve([Service("test.Peer", {"Echo": StreamMethod(bytes, echo)})], listen, name="peer") as server,
    ):
        tell(server.address)
        await trio.sleep_forever()


async def hold(address: str) -> None:
    """Opens a call and keeps it."""
    async with GrpcNetwork.open() as network, network.connect(address, name="holder") as channel:
        async with channel.stream(ECHO, bytes) as stream:
            await stream.send(b"here")
            await stream.receive()
            tell("open")
            try:
                await stream.receive()
            except PeerLost:
                tell("lost")


async def measure(address: str) -> None:
    """Round trips of 400 bytes, in microseconds: median, 90th and 99th percentile, for each of three thousand."""
    async with GrpcNetwork.open() as network, network.connect(address, name="measure") as channel:
        for _ in range(3):
            async with channel.stream(ECHO, bytes) as stream:
                seconds = []
                for _ in range(1000):
                    began = time.perf_counter()
                    await stream.send(bytes(400))
                    await stream.receive()
                    seconds.append(time.perf_counter() - began)
            seconds.sort()
            tell(" ".join(f"{seconds[share] * 1e6:.0f}" for share in (500, 900, 990)))


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    role, address = sys.argv[1:]
    trio.run({"serve": serve, "hold": hold, "measure": measure}[role], address)
