"""By hand: twenty OpenAI clients at once on one `mlx-serve`, and the same requests one after the other.

    python -P -m tests.benchmarks.serving RUN_OR_MODEL [--clients 20] [--rounds 3] [--tokens 64]

Every client sends its next request when it has its answer; half of them stream. Says how many were answered, the time
to the first token, the latency of a whole answer, and tokens per second, in company and alone.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai


@dataclass(frozen=True)
class Answered:
    """One request."""

    first_s: float | None
    """Until the first token, where it was streamed."""
    whole_s: float
    tokens: int


@contextmanager
def served(source: Path) -> Iterator[str]:
    """The address of an `mlx-serve` that lives as long as the block."""
    command = [str(Path(sys.executable).with_name("mlx-serve")), str(source), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if found := re.search(r"answers at (\S+)", line):
                yield found[1]
                return
        raise SystemExit("mlx-serve ended before it answered")
    finally:
        server.terminate()
        server.communicate()


def ask(client: openai.OpenAI, number: int, tokens: int, *, stream: bool) -> Answered:
    """One request, with a prompt of its own."""
    model = client.models.list().data[0].id
    messages = [{"role": "user", "content": f"Say something about the number {number}."}]
    begun = time.perf_counter()
    if not stream:
        reply = client.chat.completions.create(model=model, messages=messages, max_tokens=tokens)
        now = time.perf_counter() - begun
        return Answered(None, now, reply.usage.completion_tokens)
    first, count = None, 0
    options = {"include_usage": True}
    for piece in client.chat.completions.create(
        model=model, messages=messages, max_tokens=tokens, stream=True, stream_options=options
    ):
        if piece.choices and piece.choices[0].delta.content and first is None:
            first = time.perf_counter() - begun
        count = piece.usage.completion_tokens if piece.usage else count
    whole = time.perf_counter() - begun
    return Answered(first, whole, count)


def crowd(address: str, clients: int, rounds: int, tokens: int) -> tuple[list[Answered], list[Exception], float]:
    """All clients at once: answers, failures, and seconds altogether."""
    answers: list[Answered] = []
    failures: list[Exception] = []

    def one(number: int) -> None:
        with openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=600) as client:
            for turn in range(rounds):
                try:
                    answers.append(ask(client, number * rounds + turn, tokens, stream=number % 2 == 0))
                except openai.OpenAIError as failure:
                    failures.append(failure)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, failures, time.perf_counter() - begun


def row(name: str, answers: list[Answered], failures: list[Exception], seconds: float) -> str:
    """One line of the table."""
    first = sorted(each.first_s for each in answers if each.first_s is not None) or [0.0]
    whole = sorted(each.whole_s for each in answers)
    late = whole[int(0.95 * (len(whole) - 1))]
    tokens = sum(each.tokens for each in answers)
    return (
        f"{name:<12}{len(answers)}/{len(answers) + len(failures)} answered   "
        f"first token {statistics.median(first):.3f} s (worst {first[-1]:.3f})   "
        f"answer {statistics.median(whole):.3f} s (p95 {late:.3f}, worst {whole[-1]:.3f})"
        f"   {tokens / seconds:.0f} tok/s"
    )


def main() -> None:
    """Print the table; exit code 1 where a client got no answer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
    with served(args.source) as address:
        crowd(address, 1, 1, args.tokens)  # the first one pays for what is compiled
        alone = crowd(address, 1, args.rounds * 2, args.tokens)
        print(row("1 client", *alone))
        together = crowd(address, args.clients, args.rounds, args.tokens)
        print(row(f"{args.clients} clients", *together))
        for failure in together[1]:
            print(f"  {failure}")
    sys.exit(1 if together[1] else 0)


if __name__ == "__main__":
    main()
