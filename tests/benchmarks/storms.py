"""By hand: `python -P -m tests.benchmarks.storms WHAT...`: what the console does when there is too much of something.

    long      a journal of 200,000 facts: keys while it is read
    resize    100 sizes in five seconds: the last picture against one that was drawn at that size alone
    lines     10,000 lines of log a second on the Logs screen
    metrics   300 metrics, ten times a second, on the Run screen
    stalled   a console is stopped by SIGSTOP beside another one, on a live run: the monitor, the steps, the other one
    hang-up   the terminal goes away on each screen, and with a dialog open

Each in a real pseudo-terminal of 100x30. The seconds from a key until its effect is on the screen are of this machine
as it was at that time.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.events import Envelope, EvaluationFinished, StepCommitted
from runtime.events.journal import decode_line, encode_line
from runtime.ids import ActorPath, Step
from tests.benchmarks.console import ENTRY, ENV, cpu_seconds, live_run, monitor_of, rest, rss_mb
from tests.support.letters import Letters
from tests.support.terminals import Terminal
from tests.unit.console.seats import written
from tests.unit.view.told import begun, commit, steps

FACTS = 200_000
SIZES = 100
MEASURED_SECONDS = 30.0
LINE = "2026-11-23 01:02:03,{:03d} INFO mlx-distributed: step {} has a loss of 2.345, and more is said of it here\n"
SCREENS = ((b"[2 Run]", "2"), (b"[4 Checkpoints]", "4"), (b"[1 Overview]", "1"))


@contextmanager
def console(*words: str, size: tuple[int, int] = (100, 30), hangs_on: bool = False) -> Iterator[Terminal]:
    """The console in a terminal, from its first picture on."""
    command = [sys.executable, "-P", "-c", ENTRY, "console", *words]
    opened = Terminal(command, size=size, env=ENV, hangs_on=hangs_on)
    try:
        opened.read(60.0, until=b"Help")
        yield opened
    finally:
        opened.end()


def seconds_to(opened: Terminal, key: str, effect: bytes) -> float:
    """From the key until its effect is written."""
    began = time.monotonic()
    opened.press(key)
    opened.read(60.0, until=effect)
    return time.monotonic() - began


def keys_told(seconds: Sequence[float]) -> str:
    """Their quantiles."""
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return (
        f"{len(seconds)} keys  p50 {1000 * statistics.median(seconds):.0f} ms  p95 {1000 * p95:.0f} ms"
        f"  longest {1000 * max(seconds):.0f} ms"
    )


def long(scratch: Path) -> str:
    """Screens are switched until the journal is read."""
    folder = written(scratch / "long", [*begun(), *steps(1, FACTS)])
    with console(str(folder)) as opened:
        painted, seconds, seen = time.monotonic() - opened.began, [], b""
        while b"RUNNING" not in seen and len(seconds) < 1000:
            for effect, key in SCREENS:
                seconds.append(seconds_to(opened, key, effect))
                seen = opened.read(0.1)
        took = time.monotonic() - opened.began
        return (
            f"first paint {painted:.2f} s  read after {took:.1f} s  {keys_told(seconds)}  {rss_mb(opened.pid):.0f} MB"
        )


def resize(scratch: Path) -> str:
    """The picture after the storm is the picture of that size."""
    folder = written(scratch / "tiny", [*begun(), *steps(1, 50)])
    sizes = [(60 + 7 * n % 140, 20 + 3 * n % 40) for n in range(SIZES)]
    with console("--replay", str(folder)) as opened:
        opened.read(2.0)
        for size in sizes:
            opened.resize(size)
            opened.read(0.05)
        told = Letters((97, 31))
        opened.resize((97, 31))
        told.feed(opened.read(3.0))
        code = opened.ended(0.0)
    with console("--replay", str(folder), size=(97, 31)) as fresh:
        fresh.press("2")
        fresh.read(2.0)
        wanted = Letters((97, 31))
        fresh.press("1")
        wanted.feed(fresh.read(3.0))
    same = sum(one == other for one, other in zip(told.lines, wanted.lines, strict=True))
    filled = sum(map(bool, wanted.lines))
    return f"{SIZES} sizes: alive {code is None}, {same} of 31 lines ({filled} not empty) as drawn at that size alone"


def flooding(write: Callable[[int], object], per_second: int) -> threading.Event:
    """Calls `write` with 0, 1, 2, ... so many times a second, in bunches of a tenth, until the event is set."""
    over = threading.Event()

    def flood() -> None:
        began, written_so_far = time.monotonic(), 0
        while not over.wait(0.1):
            due = int((time.monotonic() - began) * per_second)
            for number in range(written_so_far, due):
                write(number)
            written_so_far = due

    threading.Thread(target=flood).start()
    return over


def lines(scratch: Path) -> str:
    """Up and Follow by turns while the lines come."""
    folder = written(scratch / "tiny", [*begun(), *steps(1, 50)])
    (folder / "logs").mkdir()
    with (folder / "logs" / "worker-0.log").open("w", buffering=1 << 16) as file, console(str(folder)) as opened:
        opened.press("5")
        opened.read(3.0)
        over = flooding(lambda number: file.write(LINE.format(number % 1000, number)), 10_000)
        try:
            return _watched(opened, (("k", b"PAUSED"), ("f", b"following")))
        finally:
            over.set()


def metrics(scratch: Path) -> str:
    """Pages of charts while all curves grow."""
    names = [f"metric-{n:03d}" for n in range(300)]
    folder = written(scratch / "tiny", [*begun(), *steps(1, 50)])
    with (folder / "events.jsonl").open("ab", buffering=0) as file, console(str(folder)) as opened:

        def tell(number: int) -> None:
            told = tuple((name, (number * 7 + len(name)) % 13 / 13) for name in names)
            step = Step(51 + number)
            evaluated = EvaluationFinished(
                step=step, split="valid", loss=2.0, tokens=9, token_accuracy=0.5, metrics=told
            )
            for place, fact in enumerate((commit(51 + number), evaluated)):
                file.write(encode_line(Envelope(1000 + 2 * number + place, time.time(), ActorPath("run"), fact)))

        opened.press("2")
        opened.read(3.0)
        over = flooding(tell, 10)
        try:
            return _watched(opened, (("1", b"[1 Overview]"), ("2", b"[2 Run]")))
        finally:
            over.set()


def _watched(opened: Terminal, keys: Sequence[tuple[str, bytes]]) -> str:
    """Processor and bytes while nobody types, then keys."""
    cpu, wrote, began = opened.cpu_seconds(), opened.written, time.monotonic()
    while time.monotonic() - began < MEASURED_SECONDS / 2:
        opened.read(0.5)
    took = time.monotonic() - began
    used, sent = 100 * (opened.cpu_seconds() - cpu) / took, (opened.written - wrote) / took
    seconds: list[float] = []
    while time.monotonic() - began < MEASURED_SECONDS:
        for key, effect in keys:
            seconds.append(seconds_to(opened, key, effect))
            opened.read(0.2)
    return f"{used:.1f} % of a core  {sent:.0f} B/s  {keys_told(seconds)}  {rss_mb(opened.pid):.0f} MB"


def stalled(scratch: Path) -> str:
    """As when its terminal or its line hangs."""
    with live_run(scratch) as folder, console(str(folder)) as hung, console(str(folder)) as quick:
        rest([hung, quick], 5.0)
        monitor, told = monitor_of(folder), []
        for name in ("both read", "one is stopped"):
            if name != "both read":
                os.kill(hung.pid, signal.SIGSTOP)
            before, cpu, wrote, began = rss_mb(monitor), cpu_seconds(monitor), quick.written, time.monotonic()
            first = steps_of(folder)
            rest([quick], MEASURED_SECONDS)
            took = time.monotonic() - began
            told.append(
                f"{name}: {(steps_of(folder) - first) / took:.1f} steps/s, the other console"
                f" {(quick.written - wrote) / took:.0f} B/s, monitor {100 * (cpu_seconds(monitor) - cpu) / took:.2f} %"
                f" of a core and {before:.1f} -> {rss_mb(monitor):.1f} MB"
            )
        os.kill(hung.pid, signal.SIGCONT)
        letters = Letters((100, 30))
        letters.feed(hung.read(6.0))
        return f"{'; '.join(told)}; then: {letters.lines[0].strip()} (step {steps_of(folder)})"


def steps_of(folder: Path) -> int:
    """The newest step in the journal."""
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    facts = (decode_line(line).event for line in reversed(lines))
    return next(int(fact.step) for fact in facts if isinstance(fact, StepCommitted))


def hang_up(scratch: Path) -> str:
    """How it ends, and how soon, on each screen alone and with the help open; also where SIGHUP is ignored."""
    folder = written(scratch / "tiny", [*begun(), *steps(1, 50)])
    told = []
    for hangs_on in (False, True):
        for screen in "123456":
            for dialog in ("", "?"):
                with console(str(folder), hangs_on=hangs_on) as opened:
                    opened.press(screen)
                    opened.read(1.0)
                    opened.press(dialog)
                    opened.read(0.5)
                    began = time.monotonic()
                    opened.hang_up()
                    code = opened.ended(10.0)
                    told.append((time.monotonic() - began, code, f"{screen}{dialog}{' deaf' * hangs_on}"))
    late = [each for each in told if each[0] > 2.0]
    slowest = max(told)
    codes = {code for _, code, _ in told}
    return f"{len(told)} times: codes {codes}, slowest {slowest[0]:.2f} s ({slowest[2]}), over 2 s: {late}"


STORMS = {"long": long, "resize": resize, "lines": lines, "metrics": metrics, "stalled": stalled, "hang-up": hang_up}


def main() -> None:
    """Those that are named, or all; a line each."""
    for name in sys.argv[1:] or STORMS:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{name:8} {STORMS[name](Path(scratch))}", flush=True)


if __name__ == "__main__":
    main()
