"""A real run as a test sees it: `mlx-distributed run` in a process of its own, watched through its journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from runtime.events import ActorExited, ActorReady
from runtime.ids import Rank
from tests.support import processes
from tests.support.journal import Follower
from tests.support.waiting import until

MARK = "MLXD_TEST_RUN"
"""Environment variable that every process of a run inherits; it still tells them when their parent is dead."""

COMMAND = str(Path(sys.executable).with_name("mlx-distributed"))

E = TypeVar("E")


class RunProcess:
    """A run started by `with RunProcess(config, folder) as run:`; leaving the block kills what is left of it.

    The runs folder is `<folder>/runs`, the run's own `<folder>/runs/<name>`. Leaving asserts that killing the root
    alone was enough: no worker, coordinator or helper of the run survives its root.
    """

    tether_guard_seconds = 60.0
    """Far above the promised second, because a busy machine is not an orphan."""

    def __init__(
        self,
        config: Path,
        folder: Path,
        *,
        name: str = "tested",
        arguments: Sequence[str] = (),
        command: Sequence[str] = (COMMAND,),
    ) -> None:
        self.folder = folder
        self.run_folder = folder / "runs" / name
        self.output = folder / f"{name}-{uuid.uuid4().hex[:6]}.output"
        self.journal = Follower(self.run_folder / "events.jsonl")
        self.journal.fresh()
        self._started_at = self._waited_for = len(self.journal.seen)  # an earlier process of the run wrote these
        self.mark = {MARK: uuid.uuid4().hex}
        self.command = command
        self._command = [
            *[*command, "run", str(config), "--progress", "plain"],
            *["--set", f"run.output_dir={folder / 'runs'}", "--set", f"run.name={name}"],
            *arguments,
        ]

    def __enter__(self) -> RunProcess:
        with self.output.open("wb") as sink:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env={**os.environ, **self.mark},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        try:
            if kind is None:
                processes.wait_until_gone(self.mark, within_seconds=self.tether_guard_seconds)
        finally:
            processes.kill_all(self.alive())

    @property
    def pid(self) -> int:
        """The root process: the one that a user started."""
        return self._process.pid

    def alive(self) -> list[processes.Seen]:
        """Every living process of this run, wherever it hangs in the tree."""
        return processes.marked(self.mark)

    def wait_for(self, kind: type[E], such_that: Callable[[E], bool] = lambda _: True, *, within_seconds: float) -> E:
        """The next event of `kind` that is not yet waited for and satisfies `such_that`.

        Events before it are passed over for good: call in the order in which things happen.

        Raises:
            AssertionError: the process ended first, or the guard was exceeded; the text holds the end of its output.
        """

        def look() -> list[E]:
            ended = self._process.poll() is not None  # asked before reading: what it wrote last must be seen
            self.journal.fresh()
            for envelope in self.journal.seen[self._waited_for :]:
                self._waited_for += 1
                if isinstance(envelope.event, kind) and such_that(envelope.event):
                    return [envelope.event]
            assert not ended, f"the run ended with {self._process.returncode} before {kind.__name__}:\n{self.tail()}"
            return []

        return until(look, within_seconds=within_seconds, what=lambda: f"no {kind.__name__}:\n{self.tail()}")[0]

    def events(self, kind: type[E]) -> list[E]:
        """Every event of `kind` that the journal holds by now."""
        self.journal.fresh()
        return [envelope.event for envelope in self.journal.seen if isinstance(envelope.event, kind)]

    def worker_pids(self) -> dict[Rank, int]:
        """Process ids of this run's workers that are ready and not known to be gone, by rank."""
        pids: dict[Rank, int] = {}
        self.journal.fresh()
        for event in (envelope.event for envelope in self.journal.seen[self._started_at :]):
            if isinstance(event, ActorReady | ActorExited) and (rank := rank_of(event.path)) is not None:
                if isinstance(event, ActorReady):
                    pids[rank] = event.pid
                else:
                    pids.pop(rank, None)
        return pids

    def signal_worker(self, rank: Rank, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one worker; returns its process id."""
        pid = self.worker_pids()[rank]
        os.kill(pid, number)
        return pid

    def order(self, name: str, *words: str) -> str:
        """What `mlx-distributed NAME <this run> WORDS` prints; raises AssertionError when it fails."""
        done = subprocess.run([COMMAND, name, self.run_folder, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.tail()}"
        return done.stdout.strip()

    def signal_root(self, number: signal.Signals) -> None:
        """Send a signal to the process that the user started."""
        self._process.send_signal(number)

    def finish(self, *, within_seconds: float) -> int:
        """Wait for the root to end by itself, and return its exit code; nothing of the run may be alive then."""
        try:
            code = self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run does not end:\n{self.tail()}") from None
        processes.wait_until_gone(self.mark, within_seconds=self.tether_guard_seconds)
        return code

    def tail(self, lines: int = 40) -> str:
        """The end of what the run printed, stdout and stderr together."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])


def clean_up_when_terminated() -> None:
    """Make SIGTERM an exit of this process like any other: its runs are ended with it. For programs run by hand."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def rank_of(path: str) -> Rank | None:
    """The rank in an actor path that ends in `worker-<rank>`; None for any other actor."""
    name = path.rsplit("/", 1)[-1]
    number = name.removeprefix("worker-")
    return Rank(int(number)) if name.startswith("worker-") and number.isdigit() else None
