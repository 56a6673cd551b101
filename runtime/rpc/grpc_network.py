"""The real network: gRPC over TCP or unix sockets. One per process, opened by the process's entry."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import trio

from runtime.rpc.addresses import connectable, refusal, require_free
from runtime.rpc.auth import metadata_for
from runtime.rpc.bridge import Bridge
from runtime.rpc.channels import GrpcChannel
from runtime.rpc.grpc_server import GrpcHandlers
from runtime.rpc.library import grpc
from runtime.rpc.network import Channel, Limits, Report, Server, ignore
from runtime.rpc.server import Handlers
from runtime.rpc.service import Service

CLOSE_SECONDS = 5.0
"""Bound on what gRPC may take to close beyond the grace; it takes milliseconds."""


class GrpcNetwork:
    """Implements Network. Made by `GrpcNetwork.open()`; servers and channels must be closed before it is."""

    def __init__(self, bridge: Bridge, *, token: str | None, limits: Limits) -> None:
        self._bridge, self._token, self._limits = bridge, token, limits

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *, token: str | None = None, limits: Limits | None = None) -> AsyncIterator[GrpcNetwork]:
        """The process's network. With a token, its servers refuse calls without it and its channels send it."""
        async with Bridge.open() as bridge:
            yield cls(bridge, token=token, limits=limits or Limits())

    def with_token(self, token: str | None) -> GrpcNetwork:
        """The same network for servers and channels of another secret."""
        return GrpcNetwork(self._bridge, token=token, limits=self._limits)

    @contextlib.asynccontextmanager
    async def serve(
        self, services: Sequence[Service], listen: str, *, name: str, report: Report = ignore
    ) -> AsyncIterator[Server]:
        """See Network."""
        handlers = Handlers(services, token=self._token, limits=self._limits, report=report)
        require_free(listen)
        async with handlers.open():
            server, port = await self._bridge.run(self._listen, handlers, listen)
            try:
                yield Server(address=connectable(listen, port), name=name)
            finally:
                grace_seconds = self._limits.stop_grace_seconds
                with trio.move_on_after(grace_seconds + CLOSE_SECONDS, shield=True):
                    await self._bridge.run(server.stop, grace_seconds)

    async def _listen(self, handlers: Handlers, listen: str) -> tuple[Any, int]:
        server = grpc.aio.server(options=_server_options(self._limits))
        GrpcHandlers(self._bridge, handlers).register(server)
        try:
            port = server.add_insecure_port(listen)
        except RuntimeError as error:
            await server.stop(None)
            raise refusal(listen, error) from None
        await server.start()
        return server, port

    @contextlib.asynccontextmanager
    async def connect(self, address: str, *, name: str) -> AsyncIterator[Channel]:
        """See Network."""
        dialled = await self._bridge.run(self._dial, address)
        metadata = metadata_for(name, self._token)
        channel = GrpcChannel(self._bridge, dialled, address=address, metadata=metadata, limits=self._limits)
        try:
            yield channel
        finally:
            channel.is_closed = True
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._bridge.run(dialled.close)

    async def _dial(self, address: str) -> Any:
        return grpc.aio.insecure_channel(address, options=_channel_options(self._limits))


def _common_options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.keepalive_time_ms", round(limits.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _server_options(limits: Limits) -> list[tuple[str, int]]:
    return [
        *_common_options(limits),
        ("grpc.so_reuseport", 0),  # else two servers share a port in silence
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(limits.keepalive_seconds * 500)),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _channel_options(limits: Limits) -> list[tuple[str, int]]:
    return [
        *_common_options(limits),
        ("grpc.enable_http_proxy", 0),  # a proxy of the environment has no business between workers
        ("grpc.enable_retries", 0),  # who calls decides about retries
        ("grpc.use_local_subchannel_pool", 1),  # no shared back-off with another channel to the same address
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", round(limits.connect_seconds * 1000)),  # its other meaning: see Limits
        ("grpc.max_reconnect_backoff_ms", round(limits.reconnect_seconds * 1000)),
    ]
