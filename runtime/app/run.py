"""A headless run, from a configuration file to an exit code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from runtime import events as facts
from runtime.actors import FatalExit
from runtime.app.anchor import anchored
from runtime.app.exits import OF_OUTCOME, UNRECOVERABLE, explanation
from runtime.app.leftovers import ChildRecords, sweep
from runtime.app.plan import planned
from runtime.app.reports import policies
from runtime.app.root import Briefing, Root
from runtime.app.run_folder import RunFolder, open_run_folder
from runtime.app.showing import Observer, Showing
from runtime.app.start_point import start_point
from runtime.app.tree import run_tree
from runtime.app.workforce import workers_here, workers_of
from runtime.cluster.detector import HangDetector
from runtime.config.load import resolve
from runtime.config.save import dumps
from runtime.config.schema import Config
from runtime.errors import ActorDown, GaveUp
from runtime.events import RunState
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Step
from runtime.rpc import new_token
from runtime.supervision import Supervisor, supervise


@dataclass(frozen=True)
class Ended:
    """How the run ended."""

    exit_code: int
    state: RunState
    folder: Path
    reason: str = ""
    """A sentence for whoever started it; empty when all is well."""
    tail: str = ""
    """The last output of the process that is to blame."""


def run_headless(
    path: Path,
    overrides: Sequence[str],
    *,
    resume: str | None,
    observer: Observer,
    say: Callable[[str], None],
    ssh: str = "ssh",
) -> Ended:
    """Train as the configuration in `path` says, until done, stopped, failed or given up.

    `say` gets sentences for the person who started it; `ssh` is the client that reaches the machines of cluster.hosts,
    with options of its own. Raises ConfigError and UsageError before anything was started,
    RunFolderError when the folder cannot be had; what happens later is in `Ended`.
    """
    resolved = resolve(path, overrides)
    config = anchored(resolved.config, path.parent)
    workers = workers_of(config)
    if config.parallel.pipeline > 1:
        planned(config)  # a model that cannot be cut, and stages that cannot be, are refused here
    command = shlex.join(["mlx-distributed", "run", str(path), *(f"--set={override}" for override in overrides)])
    output_dir = Path(config.run.output_dir)
    resume = resume or config.run.resume
    text = dumps(config)
    with open_run_folder(output_dir, resolved.run_name, resume=resume, config_toml=text, command=command) as folder:
        if folder.said:
            say(folder.said)
        killed = sweep(folder.pids)
        if killed:
            say(f"ended {len(killed)} processes that an earlier run left behind")
        rejected: list[facts.CheckpointRejected] = []
        begin = start_point(folder, say, rejected.append, config)
        briefing = Briefing(
            run_id=str(folder.run_id),
            token=new_token(),
            workers=workers,
            config_hash=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
            version=importlib.metadata.version("mlx-distributed"),
            command=command,
            point=begin,
        )
        return trio.run(_run, config, folder, briefing, observer, ssh, rejected)


async def _run(
    config: Config,
    folder: RunFolder,
    briefing: Briefing,
    observer: Observer,
    ssh: str,
    before: Sequence[facts.Event] = (),
) -> Ended:
    """`before` are facts that were found while the folder was made ready: the first ones of this process."""
    journal = Journal(folder.journal_path)
    bus = journaled_bus(journal)
    showing = Showing(observer)
    bus.add_sink(ChildRecords(folder.pids))
    bus.add_sink(showing)
    detector = HangDetector(config.supervision.hang_factor, config.supervision.hang_floor_s)
    root = Root(bus, journal, briefing, detector)
    tree = root.tree = run_tree(root, config, folder.path, workers_here(config), lambda: showing.state, ssh=ssh)
    started = trio.current_time()
    for fact in (*policies(tree, ActorPath("run")), *before):
        bus.publish(fact, ActorPath("run"))
    try:
        failure = await _supervised(tree, root)
        outcome, reason, tail = _judge(root, failure)
        finished = facts.RunFinished(outcome, Step(root.step), trio.current_time() - started, reason)
        bus.publish(finished, ActorPath("run"))
        return Ended(OF_OUTCOME[outcome], showing.state, folder.path, reason, tail)
    finally:
        bus.close()
        journal.close()
        showing.close()


async def _supervised(tree: Supervisor, root: Root) -> GaveUp | None:
    """Run the tree; the first interrupt asks for an orderly end, the second one for an end."""
    failure: GaveUp | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_signals, tree, root)
        try:
            await supervise(tree, path="run", emit=root.emit)
        except GaveUp as gave_up:
            failure = gave_up
        nursery.cancel_scope.cancel()
    return failure


async def _signals(tree: Supervisor, root: Root) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        asked = False
        async for number in received:
            if not asked and root.ask_stop(f"{signal.Signals(number).name} to the run"):
                asked = True
                continue
            if not root.outcome:  # else the coordinator has ended the run already, and its reason stands
                root.outcome, root.reason = "stopped", "stopped at once: the step under way was not saved"
            root.bus.publish(facts.StopRequested("second interrupt", now=True), ActorPath("run"))
            for supervisor in (root.node, tree):  # the inner one too: a cancel from outside leaves it its graces
                with suppress(ActorDown):  # not up yet, or ended by itself in this very moment
                    if supervisor is not None:
                        supervisor.end(hurry=True)


def _judge(root: Root, failure: GaveUp | None) -> tuple[facts.Outcome, str, str]:
    """(outcome, sentence, output of whoever is to blame)."""
    if root.outcome:
        outcome: facts.Outcome = root.outcome  # type: ignore[assignment]  # it came as a string over a pipe
        return outcome, root.reason, ""
    if failure is None:
        return "failed", root.retired or "every process ended before the run did", ""
    if root.fatal is not None and isinstance(root.fatal.error, FatalExit) and root.fatal.error.code == UNRECOVERABLE:
        return "failed", explanation(root.fatal.tail) or str(failure), ""
    return "gave_up", str(failure), failure.tail
