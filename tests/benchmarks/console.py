"""By hand: `python -P -m tests.benchmarks.console [RUN]`: what the console costs in a real terminal of 100x30.

first paint (until the last key of the footer stands there), processor and bytes without news, the same at one step a
second, resident memory, and how long a key takes until something is painted. With RUN: of that folder; else of a
journal that is written here, with a step a second in the second half.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from runtime.events import Envelope
from runtime.events.journal import encode_line
from runtime.ids import ActorPath
from tests.support.terminals import Terminal
from tests.unit.console.seats import written
from tests.unit.view.told import begun, commit, steps

ENTRY = "import sys; from console.cli.main import main; sys.exit(main())"
ENV = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
MEASURED_SECONDS = 20.0
KEYS = "2145" * 10


def rss_mb(pid: int) -> float:
    """Resident memory."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def used(opened: Terminal, seconds: float, news: Path | None, first_seq: int) -> tuple[float, float]:
    """(percent of a core, bytes a second) over so long; with `news`, that journal gets a step a second meanwhile."""
    cpu, wrote, began = opened.cpu_seconds(), opened.written, time.monotonic()
    for second in range(round(seconds)):
        if news is not None:
            fact = commit(first_seq + second, loss=2.0 + (second % 7) / 10)
            with news.open("ab") as file:
                file.write(encode_line(Envelope(1000 + first_seq + second, time.time(), ActorPath("run"), fact)))
        opened.read(began + second + 1 - time.monotonic())
    took = time.monotonic() - began
    return 100 * (opened.cpu_seconds() - cpu) / took, (opened.written - wrote) / took


def main() -> None:
    """Measure, and print a line each."""
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        folder = given or written(Path(scratch) / "tiny", [*begun(), *steps(1, 400)])
        paints = []
        for _ in range(3):
            opened = Terminal([sys.executable, "-P", "-c", ENTRY, "console", str(folder)], env=ENV)
            opened.read(60.0, until=b"Help")
            paints.append(time.monotonic() - opened.began)
            opened.end()
        print(f"first paint   {min(paints):6.2f} s   (three times: {', '.join(f'{each:.2f}' for each in paints)})")
        for screen in "125":
            opened = Terminal([sys.executable, "-P", "-c", ENTRY, "console", str(folder)], env=ENV)
            opened.read(60.0, until=b"Help")
            opened.press(screen)
            opened.read(4.0)
            print(f"screen {screen} idle  {used(opened, MEASURED_SECONDS, None, 0)[0]:6.2f} %", end="")
            print(f"  {used(opened, 5.0, None, 0)[1]:8.0f} B/s")
            if given is None:
                cpu, wrote = used(opened, MEASURED_SECONDS, folder / "events.jsonl", 401 + 100 * int(screen))
                print(f"screen {screen} 1 Hz  {cpu:6.2f} %  {wrote:8.0f} B/s   {rss_mb(opened.pid):.0f} MB")
            opened.end()
        opened = Terminal([sys.executable, "-P", "-c", ENTRY, "console", str(folder)], env=ENV)
        opened.read(60.0, until=b"Help")
        opened.read(3.0)
        times = []
        for key in KEYS:
            began = time.monotonic()
            opened.press(key)
            opened.read(10.0, until=b"m")
            times.append(time.monotonic() - began)
            opened.read(0.3)
        opened.end()
        tail = statistics.quantiles(times, n=20)[-1]
        print(f"key to paint  p50 {statistics.median(times) * 1000:.0f} ms  p95 {tail * 1000:.0f} ms")


if __name__ == "__main__":
    main()
