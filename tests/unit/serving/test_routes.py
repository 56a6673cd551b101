"""The routes over an engine that answers from a script: every way in, and every way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from mlx_lm.generate import TextStateMachine

from runtime.serving import routes as house
from runtime.serving.exchange import Mailbox, Progress, refused
from runtime.serving.refusal import Refused, unavailable
from runtime.serving.routes import Routes

HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
TEXT = {"prompt": "hello"}


def token(text: str, finish_reason: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(text=text, token=7, logprob=-0.5, finish_reason=finish_reason, top_tokens=())


@dataclass
class Scripted:
    """An engine whose every answer is `script`; an exception in it is raised at its place."""

    script: Sequence[Any] = (Progress(1, 3), token("Hello"), token(" you", "length"))
    begin_with: Exception | None = None
    ready: bool = True
    name: str = "tiny"
    closed: int = 0
    asked: list[Any] = field(default_factory=list)

    def ask(self, asked: Any) -> Scripted:
        self.asked.append(asked)
        return self

    async def begin(self) -> Any:
        if self.begin_with is not None:
            raise self.begin_with
        return SimpleNamespace(text_sm=TextStateMachine(), initial_state="normal", prompt=[1, 2], prompt_cache_count=-1)

    async def items(self) -> AsyncIterator[Any]:
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed += 1

    def decode(self, number: int) -> str:
        return f"<{number}>"

    def tool_calls(self, context: Any, text: str, tools: Any) -> list[dict[str, Any]]:
        return []


@dataclass
class Heard:
    """What a client got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error

    @property
    def events(self) -> list[str]:
        return [line.removeprefix("data: ") for line in self.body.decode().splitlines() if line.startswith("data: ")]


def call(
    app: Any, path: str, body: Any = None, *, key: str = "", method: str = "", gone: bool = False, raw: bytes = b""
) -> Heard:
    """One request, without a socket; with `gone` the client leaves when it has sent its body."""
    content = raw or (b"" if body is None else json.dumps(body).encode())
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {
        "type": "http", "method": method or ("GET" if body is None and not raw else "POST"), "path": path,
        "query_string": b"", "headers": headers, "server": ("here", 80), "scheme": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip
    coming = [{"type": "http.request", "body": content, "more_body": False}]
    heard = Heard()

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            heard.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            heard.body += message.get("body", b"")

    asyncio.run(app(scope, receive, send))
    return heard


def test_health_follows_the_engine_and_asks_for_no_key() -> None:
    assert call(Routes(Scripted(), "k").app(), "/health").status == 200
    assert call(Routes(Scripted(ready=False)).app(), "/health").status == 503


def test_the_one_model_is_listed_and_found() -> None:
    app = Routes(Scripted()).app()
    listed = json.loads(call(app, "/v1/models").body)["data"]
    assert [each["id"] for each in listed] == ["tiny"]
    assert json.loads(call(app, "/v1/models/tiny").body) == listed[0]
    assert call(app, "/v1/models/org/other").error["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/v1/chat/completions", "/v1/completions"])
def test_without_the_key_nothing_is_said(path: str) -> None:
    engine = Scripted()
    app = Routes(engine, "secret").app()
    body = HELLO if "completions" in path else None
    for key in ("", "wrong", "schlüssel"):
        heard = call(app, path, body, key=key)
        assert (heard.status, heard.error["code"]) == (401, "invalid_api_key")
        assert heard.headers["www-authenticate"] == "Bearer"
    assert engine.asked == []


def test_the_right_key_is_answered() -> None:
    heard = call(Routes(Scripted(), "secret").app(), "/v1/chat/completions", HELLO, key="secret")
    assert json.loads(heard.body)["choices"][0]["message"]["content"] == "Hello you"


def test_a_chat_and_a_completion_are_answered_whole() -> None:
    engine = Scripted()
    routes = Routes(engine)
    chat = json.loads(call(routes.app(), "/v1/chat/completions", HELLO).body)
    text = json.loads(call(routes.app(), "/v1/completions", {**TEXT, "logprobs": 0}).body)
    assert (chat["object"], chat["choices"][0]["finish_reason"], chat["model"]) == ("chat.completion", "length", "tiny")
    assert chat["usage"]["prompt_tokens"] == chat["usage"]["completion_tokens"] == 2
    assert (text["choices"][0]["text"], text["choices"][0]["logprobs"]["tokens"]) == ("Hello you", ["<7>", "<7>"])
    assert (engine.closed, routes.inside) == (2, 0)


def test_a_stream_has_one_end_its_usage_and_done() -> None:
    engine = Scripted()
    routes = Routes(engine)
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    heard = call(routes.app(), "/v1/chat/completions", body)
    assert heard.headers["content-type"].startswith("text/event-stream")
    assert b": prompt 1/3\n\n" in heard.body
    *pieces, done = heard.events
    assert done == "[DONE]"
    opening, first, second, usage = [json.loads(piece) for piece in pieces]
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["choices"][0]["delta"] == {"content": "Hello"}
    assert [each["choices"][0]["finish_reason"] for each in (opening, first, second)] == [None, None, "length"]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 4)
    assert len({each["id"] for each in (opening, first, second, usage)}) == 1
    assert (engine.closed, routes.inside) == (1, 0)


def test_a_stream_stops_at_a_stop_text_and_the_engine_is_told() -> None:
    engine = Scripted([token("one, tw"), token("o, three"), token(" four")])
    heard = call(Routes(engine).app(), "/v1/completions", {**TEXT, "stream": True, "stop": ", two"})
    assert [json.loads(event)["choices"][0]["text"] for event in heard.events[:-1]] == ["one", ""]
    assert engine.closed == 1


def test_a_failure_in_the_middle_of_a_stream_is_an_event() -> None:
    engine = Scripted([token("Hel"), unavailable("the server ends", "engine_ended")])
    heard = call(Routes(engine).app(), "/v1/completions", {**TEXT, "stream": True})
    assert json.loads(heard.events[-1])["error"]["code"] == "engine_ended"
    assert engine.closed == 1


def test_a_prompt_that_is_refused_leaves_its_place() -> None:
    engine = Scripted(begin_with=Refused(400, "too long", code="context_length_exceeded"))
    routes = Routes(engine)
    for stream in (False, True):
        heard = call(routes.app(), "/v1/chat/completions", {**HELLO, "stream": stream})
        assert (heard.status, heard.error["code"]) == (400, "context_length_exceeded")
    assert (engine.closed, routes.inside) == (2, 0)


def test_a_client_that_goes_away_ends_its_answer() -> None:
    for stream in (False, True):
        engine = Scripted([token("a")] * 3)
        routes = Routes(engine)
        call(routes.app(), "/v1/completions", {**TEXT, "stream": stream}, gone=True)
        assert (engine.closed, routes.inside) == (1, 0)


def test_one_too_many_is_told_to_come_again() -> None:
    routes = Routes(Scripted(), most_at_once=1)
    routes.inside = 1
    heard = call(routes.app(), "/v1/completions", TEXT)
    assert (heard.status, heard.error["code"], heard.headers["retry-after"]) == (503, "overloaded", "1")


def test_another_model_is_not_loaded() -> None:
    engine = Scripted()
    heard = call(Routes(engine).app(), "/v1/chat/completions", {**HELLO, "model": "org/other"})
    assert (heard.status, heard.error["param"], engine.asked) == (404, "model", [])
    assert call(Routes(engine).app(), "/v1/chat/completions", {**HELLO, "model": "default_model"}).status == 200


def test_a_body_is_json_and_not_too_large() -> None:
    app = Routes(Scripted()).app()
    assert call(app, "/v1/completions", raw=b'{"prompt"').error["message"].startswith("the body is not JSON")
    assert call(app, "/v1/completions", raw=b" " * (house.LARGEST_BODY_BYTES + 1)).status == 413


def test_another_path_or_method_is_refused_in_the_same_form() -> None:
    app = Routes(Scripted()).app()
    assert call(app, "/v1/embeddings", {}).error["message"] == "there is no POST /v1/embeddings here"
    assert call(app, "/v1/completions").status == 405


def test_what_nobody_foresaw_is_told_without_its_traceback() -> None:
    engine = Scripted(begin_with=ZeroDivisionError("secret"))
    app = Routes(engine).app()
    with pytest.raises(ZeroDivisionError):  # the server's log has it
        call(app, "/v1/completions", TEXT)
    assert engine.closed == 1


def test_a_mailbox_hands_over_what_the_thread_says() -> None:
    stopped = []

    async def scene() -> None:
        box = Mailbox()
        context = SimpleNamespace(stop=lambda: stopped.append("asked"))
        for item in (context, (1, 2), "token", None):
            box.put(item)
        assert await box.begin() is context
        assert [item async for item in box.items()] == [Progress(1, 2), "token"]
        box.close()
        late = Mailbox()
        late.close()
        late.put(SimpleNamespace(stop=lambda: stopped.append("late")))
        broken = Mailbox()
        broken.put(ValueError("no"))
        with pytest.raises(Refused, match="the answer failed: ValueError: no"):
            await broken.begin()
        broken.put(unavailable("gone"))
        with pytest.raises(Refused, match="gone"):
            _ = [item async for item in broken.items()]

    asyncio.run(scene())
    assert stopped == ["asked", "late"]
    assert refused(ValueError("x")).status == 500


def test_a_mailbox_whose_loop_is_over_drops_what_comes() -> None:
    async def made() -> Mailbox:
        return Mailbox()

    box = asyncio.run(made())
    box.put("late")
    assert not box.closed
