"""By hand: `python -P -m tests.benchmarks.console [PART...]`: what the console costs in a real terminal of 100x30.

    paint      until the keys stand at the bottom, for --attach, --replay and an empty folder; the first start of all
               writes the bytecode, as an installation does
    charts     processor and bytes a second of screens 1, 2 and 5 without news, and with a step a second
    keys       from a key until its effect is painted, on a live run: curves, the cursor of the tree, other screens
    memory     resident memory over --seconds, with four charts and a step a second
    attached   step time with four consoles and without, in windows that alternate for --seconds: on the run's own
               cores, and (apart) with half of the cores for the run and the other for them, as from another machine

Without PART all of them, within half an hour: memory and what comes after it at the same time. Progress goes to
stderr; the table (or `--json`) with the bars of the design comes at the end, also if the time is over before. Floods
and storms: tests.benchmarks.storms.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from runtime.events import Envelope, StepCommitted
from runtime.events.journal import decode_line, encode_line
from runtime.ids import ActorPath
from tests.support.by_keys import ENTRY
from tests.support.run_process import RunProcess
from tests.support.terminals import Terminal
from tests.support.tiny import write_tiny_config
from tests.support.waiting import let_pass
from tests.unit.console.seats import written
from tests.unit.view.told import begun, commit, steps

ENV = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
GUARD_SECONDS = 120.0
WHOLE_SECONDS = 1790
STARTS = 6
SETTLING_SECONDS = 4.0
WINDOW_SECONDS = 8.0
FOREVER = 1_000_000
CONSOLES = 4


class Figure(NamedTuple):
    """One row of the table."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    """The most that it may be."""
    remark: str = ""


class Times(NamedTuple):
    """How long to measure."""

    seconds: float
    chart_seconds: float


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def console(scratch: Path, *words: str) -> Iterator[Terminal]:
    """A console in a terminal, its bytecode in `scratch` as that of an installed program would be."""
    env = {**ENV, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}
    opened = Terminal([sys.executable, "-P", "-c", ENTRY, "console", *words], env=env)
    try:
        yield opened
    finally:
        opened.end()


@contextmanager
def live_run(scratch: Path, hidden: int = 128) -> Iterator[Path]:
    """The folder of a run of one worker that trains until it is ended."""
    shape = {"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * hidden}
    extra = {"model": {"scratch": shape}, "parallel": {"workers": 1}, "checkpoint": {"every": FOREVER}}
    config = write_tiny_config(scratch / "config", steps=FOREVER, extra=extra)
    with RunProcess(config, scratch) as run:
        run.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        yield run.run_folder


def seen(opened: Terminal, mark: bytes) -> float:
    """Wait until it is painted; seconds since the start. Raises TimeoutError."""
    if mark not in opened.read(GUARD_SECONDS, until=mark):
        raise TimeoutError(f"{mark!r} was not painted within {GUARD_SECONDS:g} s")
    return time.monotonic() - opened.began


def rest(opened: Sequence[Terminal], seconds: float) -> None:
    """Be their terminals for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not opened:
            let_pass(left)
        for each in opened:
            each.read(min(0.05, left))


def rss_mb(pid: int) -> float:
    """Resident memory."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def monitor_of(folder: Path) -> int:
    """The process of this run's monitor. Raises StopIteration where there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"runtime.app.monitor" in words and os.fsencode(folder) in words:
                return int(path.parent.name)
    raise StopIteration(f"{folder} has no monitor")


def p95(values: Sequence[float]) -> float:
    """The smallest that is not below 95 % of them."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def paint(scratch: Path, times: Times) -> Iterator[Figure]:
    """Of each kind of start: the first frame, and when what is known stands in it."""
    folder = written(scratch / "tiny", [*begun(), *steps(1, 400)])
    (scratch / "empty").mkdir()
    os.chdir(scratch / "empty")
    kinds = (("attached", ["--attach", str(folder)], b"400/"), ("replay", ["--replay", str(folder)], b"REPLAY"))
    for name, words, mark in (*kinds, ("empty folder", [], b"quickstart")):
        frames, known, used = list[float](), list[float](), list[float]()
        for _ in range(STARTS):
            with console(scratch, *words) as opened:
                painted = opened.read(GUARD_SECONDS, until=b"Help")
                frames.append(time.monotonic() - opened.began)
                used.append(opened.cpu_seconds())
                known.append(frames[-1] if mark in painted else seen(opened, mark))
            say(f"paint, {name}: {frames[-1]:.2f} s, with data {known[-1]:.2f} s, processor {used[-1]:.2f} s")
        remark = (
            f"with data {statistics.median(known[1:]):.2f} s, processor {min(used):.2f} s, the first {frames[0]:.2f} s"
        )
        yield Figure(f"first paint, {name}", statistics.median(frames[1:]), "s", 1.0, remark)


def charts(scratch: Path, times: Times) -> Iterator[Figure]:
    """Three screens without and with news, of a journal: nothing else has a part in it."""
    for screen in "125":
        folder = written(scratch / f"charts{screen}", [*begun(), *steps(1, 400)])
        with console(scratch, str(folder)) as opened:
            seen(opened, b"Help")
            opened.press(screen)
            rest([opened], SETTLING_SECONDS)
            for name, hertz, bar in (("idle", 0, 0.5), ("1 Hz", 1, 3.0)):
                cpu, wrote, began = opened.cpu_seconds(), opened.written, time.monotonic()
                for second in range(round(times.chart_seconds)):
                    tell(folder, second, hertz)
                    rest([opened], began + second + 1 - time.monotonic())
                took = time.monotonic() - began
                used, bytes_a_second = 100 * (opened.cpu_seconds() - cpu) / took, (opened.written - wrote) / took
                say(f"screen {screen} {name}: {used:.2f} % of a core, {bytes_a_second:.0f} B/s")
                yield Figure(f"screen {screen} {name}, processor", used, "% of a core", bar)
                yield Figure(f"screen {screen} {name}, written", bytes_a_second / 1000, "KB/s", 8.0 * hertz)


def tell(folder: Path, second: int, steps_more: int = 1) -> None:
    """So many more steps in its journal, which has 400 already."""
    with (folder / "events.jsonl").open("ab") as file:
        for _ in range(steps_more):
            fact = commit(401 + second, loss=2.0 + (second % 7) / 10)
            file.write(encode_line(Envelope(1000 + second, time.time(), ActorPath("run"), fact)))


def keys(scratch: Path, times: Times) -> Iterator[Figure]:
    """Three hundred keys on a live run."""
    with live_run(scratch) as folder, console(scratch, str(folder)) as opened:
        seen(opened, b"LIVE")
        rest([opened], 3.0)
        for screen in "23456512":  # each is made when it is first shown
            key_seconds(opened, screen, f"[{screen} ".encode())
            rest([opened], 0.5)
        smoothed = [key_seconds(opened, key, b"\x1b[") for key in "sS" * 50]
        key_seconds(opened, "1", b"[1 ")
        rest([opened], 2.0)  # in the tree, where this screen begins
        moved = [key_seconds(opened, key, b"\x1b[") for key in "jk" * 50]
        switched = [key_seconds(opened, key, f"[{key} ".encode()) for key in "2145" * 25]
    kinds = {"smoothing of the curves": smoothed, "cursor of the tree": moved, "another screen": switched}
    for name, seconds in kinds.items():
        remark = f"median {1000 * statistics.median(seconds):.0f} ms, longest {1000 * max(seconds):.0f} ms"
        say(f"keys, {name}: p95 {1000 * p95(seconds):.0f} ms, {remark}")
        yield Figure(f"key to screen p95, {name}", 1000 * p95(seconds), "ms", None, remark)


def key_seconds(opened: Terminal, key: str, mark: bytes) -> float:
    """From the press until the mark is painted. Raises TimeoutError."""
    opened.read(0.02)  # what the last second's news wrote is not the answer
    began = time.monotonic()
    opened.press(key)
    seen(opened, mark)
    return time.monotonic() - began


def memory(scratch: Path, times: Times) -> Iterator[Figure]:
    """Four charts, a step a second; told each tenth of the time."""
    folder = written(scratch / "memory", [*begun(), *steps(1, 400)])
    with console(scratch, str(folder)) as opened:
        seen(opened, b"Help")
        opened.press("2")
        rest([opened], SETTLING_SECONDS)
        first, cpu, began = rss_mb(opened.pid), opened.cpu_seconds(), time.monotonic()
        for second in range(round(times.seconds)):
            tell(folder, second)
            rest([opened], began + second + 1 - time.monotonic())
            if second % max(1, round(times.seconds / 10)) == 0:
                say(f"memory after {second + 1} s: {rss_mb(opened.pid):.1f} MB")
        used = 100 * (opened.cpu_seconds() - cpu) / (time.monotonic() - began)
        remark = f"{first:.1f} MB at the beginning; {used:.2f} % of a core"
        yield Figure(f"resident after {times.seconds:g} s", rss_mb(opened.pid), "MB", None, remark)


def attached(scratch: Path, times: Times) -> Iterator[Figure]:
    """Four consoles on the run's own cores."""
    return paired(scratch, times, "attached")


def apart(scratch: Path, times: Times) -> Iterator[Figure]:
    """Four consoles that compute where the run does not. Yields nothing on a machine of one core."""
    cores = sorted(os.sched_getaffinity(0))
    for_run, for_consoles = cores[: len(cores) // 2], cores[len(cores) // 2 :]
    if not for_run:
        say("apart: left out, there is only one core")
        return
    try:
        yield from paired(scratch, times, "apart", for_run, for_consoles)
    finally:
        os.sched_setaffinity(0, cores)


def paired(
    scratch: Path, times: Times, part: str, for_run: Sequence[int] = (), for_consoles: Sequence[int] = ()
) -> Iterator[Figure]:
    """Windows with four consoles and without, in turn. Starting and leaving is not counted."""
    if for_run:
        os.sched_setaffinity(0, for_run)  # what the run starts inherits it
    with live_run(scratch) as folder, (folder / "events.jsonl").open("rb") as journal:
        if for_consoles:
            os.sched_setaffinity(0, for_consoles)
        means, medians, shares = list[float](), list[float](), list[float]()
        ends_at, before = time.monotonic() + times.seconds, steps_in(journal, [])
        while time.monotonic() < ends_at or len(means) < 2:
            with ExitStack() as stack:
                opened = [stack.enter_context(console(scratch, str(folder))) for _ in range(CONSOLES)]
                for each in opened:
                    seen(each, b"LIVE")
                rest(opened, SETTLING_SECONDS)
                monitor = monitor_of(folder)
                used, began = cpu_seconds(monitor), time.monotonic()
                between = steps_in(journal, opened)
                shares.append(100 * (cpu_seconds(monitor) - used) / (time.monotonic() - began))
            rest([], SETTLING_SECONDS)
            after = steps_in(journal, [])
            for ratios, place in ((means, 0), (medians, 1)):  # a drift of the machine cancels
                ratios.append(math.log(between[place] / math.sqrt(before[place] * after[place])))
            before = after
            say(f"{part}, window {len(means)}: mean step {100 * math.expm1(means[-1]):+.2f} %")
    remark = f"a step is {1000 * before[1]:.1f} ms; {len(means)} windows of {WINDOW_SECONDS:g} s; 95 %: "
    for name, ratios in (("mean step", means), ("median step", medians)):
        middle, error = statistics.mean(ratios), statistics.stdev(ratios) / math.sqrt(len(ratios))
        low, high = (100 * math.expm1(middle + sign * 1.96 * error) for sign in (-1, 1))
        interval = f"{remark}{low:+.2f} to {high:+.2f} %"
        yield Figure(f"{CONSOLES} consoles {part}, {name}", 100 * math.expm1(middle), "%", 0.2, interval)
    yield Figure(f"{CONSOLES} consoles {part}, monitor", statistics.mean(shares), "% of a core")


def steps_in(journal: BinaryIO, opened: Sequence[Terminal]) -> tuple[float, float]:
    """Mean and median seconds of the steps that are committed in one window."""
    journal.seek(0, os.SEEK_END)
    rest(opened, WINDOW_SECONDS)
    facts = [decode_line(line).event for line in journal.read().splitlines(keepends=True)[1:-1]]
    seconds = [fact.seconds for fact in facts if isinstance(fact, StepCommitted)]
    return statistics.mean(seconds), statistics.median(seconds)


MEASURES = {part.__name__: part for part in (paint, charts, keys, memory, attached, apart)}
PARTS = tuple(MEASURES)


def measured(part: str, times: Times) -> Iterator[Figure]:
    """The figures of one part, as they come."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        yield from MEASURES[part](Path(scratch), times)
    say(f"{part}: {time.monotonic() - began:.0f} s")


def beside(part: str, times: Times) -> subprocess.Popen[str]:
    """A part in a process of its own, at the same time; it prints its figures as JSON."""
    words = ["--json", f"--seconds={times.seconds:g}", f"--chart-seconds={times.chart_seconds:g}", part]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.benchmarks.console", *words], stdout=subprocess.PIPE, text=True
    )


def all_of(parts: Sequence[str], times: Times) -> Iterator[Figure]:
    """One part after the other; memory beside what comes after it, where it is not the last."""
    here, children = Path.cwd(), list[subprocess.Popen[str]]()
    try:
        for place, part in enumerate(parts):
            os.chdir(here)
            if part == "memory" and place < len(parts) - 1:
                children.append(beside(part, times))
            else:
                yield from measured(part, times)
        for child in children:
            yield from (Figure(**row) for row in json.loads(child.communicate()[0]))
    finally:
        for child in children:
            child.terminate()
            child.wait()


def line(figure: Figure) -> str:
    """A row of the table."""
    verdict = "" if figure.bar is None else f"{'ok' if figure.value <= figure.bar else 'ABOVE'} (<= {figure.bar:g})"
    return f"{figure.name:<46} {figure.value:9.2f} {figure.unit:<12} {verdict:<16} {figure.remark}"


def main() -> None:
    """Measure what is asked for, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=600.0, help="for memory, and for attached")
    parser.add_argument("--chart-seconds", type=float, default=12.0, help="for each screen, idle and at 1 Hz")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if wrong := {*args.parts} - {*PARTS}:
        parser.error(f"there is no part {', '.join(wrong)}")

    def over(number: int, frame: object) -> None:
        raise TimeoutError(f"not done after {WHOLE_SECONDS} s" if number == signal.SIGALRM else "told to end")

    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, over)
    signal.alarm(WHOLE_SECONDS)
    figures = list[Figure]()
    try:
        for figure in all_of(args.parts or PARTS, Times(args.seconds, args.chart_seconds)):
            figures.append(figure)
    finally:
        print(json.dumps([each._asdict() for each in figures]) if args.json else "\n".join(map(line, figures)))


if __name__ == "__main__":
    main()
