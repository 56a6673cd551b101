"""`mlx-serve` as OpenAI's own client sees it: answers, streams, refusals, and twenty clients at once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.support.served import GUARD_SECONDS, serving, untrained_run

pytestmark = pytest.mark.slow

KEY = "not-for-everybody"
CLIENTS = 20


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, scratch = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("scratch")
    options = ("--name", "tiny", "--api-key-env", "MLXD_TEST_KEY")
    with serving(untrained_run(folder), scratch, *options, environment={"MLXD_TEST_KEY": KEY}) as (server, served):
        assert list(scratch.glob("mlx-serve-*"))
        yield served
        server.terminate()
        assert server.wait(GUARD_SECONDS) == 143
        assert list(scratch.glob("mlx-serve-*")) == []
    assert "Traceback" not in (scratch / "output").read_text()


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with client_of(address) as made:
        yield made


def client_of(address: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=GUARD_SECONDS)


def asked(text: str) -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_the_model_is_listed_and_a_chat_is_answered(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    reply = client.chat.completions.create(
        model="tiny", messages=asked("2+2?"), max_tokens=4, logprobs=True, top_logprobs=2
    )
    (choice,) = reply.choices
    assert choice.message.role == "assistant"
    assert (choice.finish_reason, reply.usage and reply.usage.completion_tokens) == ("length", 4)
    assert choice.logprobs is not None
    assert [len(each.top_logprobs) for each in choice.logprobs.content or []] == [2] * 4


def test_a_stream_says_the_same_in_pieces(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=asked("hello"), max_tokens=6)
    pieces = list(
        client.chat.completions.create(
            model="tiny", messages=asked("hello"), max_tokens=6, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    ends = [piece.choices[0].finish_reason for piece in pieces if piece.choices and piece.choices[0].finish_reason]
    assert (said, ends) == (whole.choices[0].message.content, ["length"])
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 6


def test_a_text_is_continued_up_to_its_stop_text(client: openai.OpenAI) -> None:
    free = client.completions.create(model="tiny", prompt="\n\n", max_tokens=8).choices[0]
    stopped = client.completions.create(model="tiny", prompt="\n\n", max_tokens=8, stop=free.text[2:4]).choices[0]
    assert (stopped.finish_reason, stopped.text) == ("stop", free.text[: free.text.index(free.text[2:4])])


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_an_authentication_error(address: str, key: str) -> None:
    with client_of(address, key or "none") as stranger, pytest.raises(openai.AuthenticationError) as caught:
        stranger.chat.completions.create(model="tiny", messages=asked("hello"))
    assert caught.value.code == "invalid_api_key"


def test_what_cannot_be_answered_is_refused_in_the_clients_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=asked("hello"))
    with pytest.raises(openai.BadRequestError) as too_long:
        client.completions.create(model="tiny", prompt="long " * 1000, stream=True)
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="tiny", messages=asked("hello"), temperature=-1)
    assert [each.value.code for each in (unknown, too_long, wrong)] == [
        "model_not_found", "context_length_exceeded", "invalid_value",
    ]  # fmt: skip
    assert wrong.value.param == "temperature"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'{"messages": [{"role": "user", "content": 3}]}'])
def test_a_body_that_is_no_request_gets_an_error_object(address: str, body: bytes) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=GUARD_SECONDS)
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    reply = connection.getresponse()
    assert reply.status == 400
    assert json.loads(reply.read())["error"]["type"] == "invalid_request_error"
    connection.close()


def test_twenty_clients_at_once_are_all_answered_as_if_alone(address: str, client: openai.OpenAI) -> None:
    def ask(number: int) -> str:
        with client_of(address) as one:
            if number % 2:
                reply = one.chat.completions.create(model="tiny", messages=asked(f"{number}?"), max_tokens=8)
                return reply.choices[0].message.content or ""
            pieces = one.chat.completions.create(model="tiny", messages=asked(f"{number}?"), max_tokens=8, stream=True)
            return "".join(piece.choices[0].delta.content or "" for piece in pieces)

    with ThreadPoolExecutor(CLIENTS) as pool:
        together = list(pool.map(ask, range(CLIENTS)))
    assert together == [ask(number) for number in range(CLIENTS)]


def test_a_client_that_leaves_in_the_middle_holds_nobody_up(address: str, client: openai.OpenAI) -> None:
    with client_of(address) as leaving:
        stream = leaving.chat.completions.create(model="tiny", messages=asked("on"), max_tokens=2000, stream=True)
        next(iter(stream))
        stream.close()
    assert client.completions.create(model="tiny", prompt="hello", max_tokens=2).choices[0].finish_reason
