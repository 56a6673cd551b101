"""The routes of `mlx-serve`: who may ask, what a body must be, and an answer that never ends in a traceback.

GET  /health                  200 once the model answers, 503 before and after; no key
GET  /v1/models[/NAME]        the one model that is served
POST /v1/chat/completions     streamed or whole
POST /v1/completions          the same
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from runtime.serving import replies
from runtime.serving.asking import Asked, ChatRequest, CompletionRequest
from runtime.serving.exchange import Answerer, Exchange, Progress
from runtime.serving.reading import Delta, Reading
from runtime.serving.refusal import Refused, of_schema, unavailable, unknown_model, wrong_key

MOST_AT_ONCE = 256
"""Requests that are in the house, waiting or being answered; the next one is told to come again."""
LARGEST_BODY_BYTES = 16 << 20
CLIENT_SECONDS = 60.0
"""How long a client may take to send its body, or to take a piece of the answer, before it is given up."""

Body = TypeVar("Body", bound=Asked)


class Routes:
    """The handlers, over one engine. An empty `key` lets everybody in."""

    def __init__(self, engine: Answerer, key: str = "", most_at_once: int = MOST_AT_ONCE) -> None:
        self._engine, self._key, self._most = engine, key, most_at_once
        self._started = int(time.time())
        self.inside = 0
        """Requests that are being answered."""

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completion, methods=["POST"]),
        ]
        handlers = {Refused: _refused, HTTPException: _no_such_route, Exception: _broken}
        return Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]  # each takes its own error

    async def health(self, _: Request) -> Response:
        """Whether a request would be answered now."""
        ready = self._engine.ready
        return JSONResponse({"status": "ok" if ready else "unavailable"}, 200 if ready else 503)

    async def models(self, request: Request) -> Response:
        """The list of one."""
        self._authorise(request)
        return JSONResponse(replies.models([self._engine.name], self._started))

    async def model(self, request: Request) -> Response:
        """The one, by its name."""
        self._authorise(request)
        self._check_model(request.path_params["name"])
        return JSONResponse(replies.model(self._engine.name, self._started))

    async def chat(self, request: Request) -> Response:
        """The next message of a conversation."""
        asked = await self._body(request, ChatRequest)
        return await self._answer(request, asked, replies.ChatForm(self._engine.name))

    async def completion(self, request: Request) -> Response:
        """The continuation of a text."""
        asked = await self._body(request, CompletionRequest)
        return await self._answer(request, asked, replies.CompletionForm(self._engine.name))

    def _authorise(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key.encode())
        if self._key and not right:
            raise wrong_key()

    def _check_model(self, asked: str | None) -> None:
        if asked not in {None, "default_model", self._engine.name}:
            raise unknown_model(str(asked), self._engine.name)

    async def _body(self, request: Request, kind: type[Body]) -> Body:
        self._authorise(request)
        content = await _read(request)
        try:
            asked = kind.model_validate_json(content)
        except ValidationError as error:
            raise of_schema(error) from error
        self._check_model(asked.model)
        return asked

    async def _answer(self, request: Request, asked: ChatRequest | CompletionRequest, form: replies.Form) -> Response:
        if self.inside >= self._most:
            raise unavailable(f"{self._most} requests are being answered or wait; come again")
        exchange = self._engine.ask(asked)
        self.inside += 1
        streams = False
        try:
            context = await exchange.begin()
            reading = self._reading(asked, context)
            if asked.stream:
                events = _events(exchange, context, reading, form, asked)
                streams = True
                return EventStream(events, lambda: self._leave(exchange))
            return await _whole(request, exchange, context, reading, form)
        finally:
            if not streams:
                self._leave(exchange)

    def _leave(self, exchange: Exchange) -> None:
        exchange.close()
        self.inside -= 1

    def _reading(self, asked: ChatRequest | CompletionRequest, context: Any) -> Reading:
        decode = self._engine.decode if asked.alternatives >= 0 else None
        tools = asked.usable_tools() if isinstance(asked, ChatRequest) else []
        parts = context if isinstance(asked, ChatRequest) else None
        return Reading(parts, asked.stops, decode, lambda text: self._engine.tool_calls(context, text, tools))


class EventStream(StreamingResponse):
    """An answer in pieces. However it ends, `leave` is called once; a client that takes nothing is given up."""

    def __init__(self, events: AsyncIterator[bytes], leave: Any) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(CLIENT_SECONDS):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self._leave()


async def _read(request: Request) -> bytes:
    """The body. Raises Refused for one that is too large or does not come."""
    content = bytearray()
    try:
        async with asyncio.timeout(CLIENT_SECONDS):
            async for piece in request.stream():
                content += piece
                if len(content) > LARGEST_BODY_BYTES:
                    raise Refused(413, f"the body is larger than {LARGEST_BODY_BYTES >> 20} MiB", code="too_large")
    except TimeoutError as error:
        raise Refused(408, "the body did not come", code="timeout") from error
    except ClientDisconnect as error:
        raise Refused(499, "the client went away", code="gone") from error
    return bytes(content)


async def _whole(request: Request, exchange: Exchange, context: Any, reading: Reading, form: replies.Form) -> Response:
    """The reply when the answer is over; nobody reads that of a client which went away, so it is cut short."""
    said: list[Delta] = []
    async for item in exchange.items():
        if await request.is_disconnected():
            raise Refused(499, "the client went away", code="gone")
        if isinstance(item, Progress):
            continue
        said.append(reading.feed(item))
        if reading.finish_reason is not None:
            break
    return JSONResponse(form.whole(replies.joined(said), reading.finish_reason or "stop", _usage(context, reading)))


async def _events(
    exchange: Exchange, context: Any, reading: Reading, form: replies.Form, asked: Asked
) -> AsyncIterator[bytes]:
    """The answer as it comes. What goes wrong now is told as an event: the status is already sent."""
    try:
        if (opening := form.opening()) is not None:
            yield replies.event(opening)
        async for item in exchange.items():
            if isinstance(item, Progress):
                yield replies.comment(f"prompt {item.done}/{item.total}")
                continue
            said = reading.feed(item)
            if said or reading.finish_reason is not None:
                yield replies.event(form.piece(said, reading.finish_reason))
            if reading.finish_reason is not None:
                break
        if asked.stream_options is not None and asked.stream_options.include_usage:
            yield replies.event(form.closing(_usage(context, reading)))
        yield replies.DONE
    except Refused as refused:
        yield replies.event(refused.body())


def _usage(context: Any, reading: Reading) -> replies.Usage:
    return replies.Usage(len(context.prompt), reading.tokens, context.prompt_cache_count)


async def _refused(_: Request, refused: Refused) -> Response:
    return JSONResponse(refused.body(), refused.status, headers=dict(refused.headers))


async def _no_such_route(request: Request, error: HTTPException) -> Response:
    wrong = f"there is no {request.method} {request.url.path} here"
    return await _refused(request, Refused(error.status_code, wrong, code="unknown_url"))


async def _broken(request: Request, error: Exception) -> Response:
    """What nobody foresaw: the client is told in its own form, and the traceback goes to the server's log."""
    fact = f"the server failed: {type(error).__name__}"
    return await _refused(request, Refused(500, fact, kind="server_error", code="failed"))
