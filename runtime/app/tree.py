"""The supervision tree of a run, one literal. Everything that may block or crash is a process of its own.

run     one_for_one    journal, watch, spares, control, coordinator (process), node, tracker (process, where asked for)
node    one_for_one    worker-0, worker-1, ... (processes, each with its own backoff; of other machines, links to them)
worker  rest_for_one   writer, peer, feeder, trainer            (inside each worker: `worker_tree`)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from runtime import launch
from runtime.actors import FatalExit, Order, ProcessActor, ProcessSpec
from runtime.actors.spare import SpareShelf
from runtime.actors.spawn import Spawned
from runtime.app.attendance import Attendance
from runtime.app.control import Control
from runtime.app.crew import Crew
from runtime.app.exits import CANNOT_START, UNRECOVERABLE
from runtime.app.root import Root
from runtime.app.words import ASSUME
from runtime.config.schema import Config
from runtime.events import RunState
from runtime.ids import Incarnation
from runtime.supervision import Backoff, ChildSpec, Restart, Strategy, Supervisor, SupervisorSpec

TRACKER_FINISH_SECONDS = 15.0
"""How long the end of a run waits for its tracker: enough to write a file, and for a network that answers."""
START_SECONDS = 120.0
"""A process says Hello before it loads anything large; on a busy machine the interpreter itself can take seconds."""


def run_tree(
    root: Root,
    config: Config,
    run_folder: Path,
    workers: int,
    state: Callable[[], RunState] = RunState,
    *,
    ssh: str = "ssh",
) -> Supervisor:
    """The tree of a run with `workers` local workers, and one on each of cluster.hosts, whose ranks follow theirs. It
    ends when the workers' work is done.

    `state` is what the facts add up to, for whoever asks on the control socket; `ssh` is the client that reaches other
    machines, with options of its own.
    """
    policy = config.supervision
    backoff = Backoff(policy.backoff_s, policy.backoff_factor, policy.backoff_cap_s, policy.jitter)
    limits = partial(
        SupervisorSpec,
        strategy=Strategy.ONE_FOR_ONE,
        intensity=policy.intensity,
        period_seconds=policy.period_s,
        backoff=backoff,
    )
    attendance = Attendance()
    root.bus.add_sink(attendance)
    shelf = _spares(config, run_folder, workers, attendance)
    children = [_worker(root, config, run_folder, rank, workers, shelf) for rank in range(workers)]
    for rank, host in enumerate(config.cluster.hosts, workers):
        children.append(_far_worker(root, config, run_folder, rank, host, ssh))
    node = Supervisor(limits(tuple(children), start="together"))
    root.node = node
    crew = Crew(
        root,
        node,
        attendance,
        lambda rank, here: _worker(root, config, run_folder, rank, here, shelf, is_added=True),
        most=min(config.parallel.logical_shards, config.train.global_batch_size),
        fewest=policy.min_workers,
        stages=config.parallel.pipeline,
    )
    return Supervisor(
        limits(
            (
                ChildSpec("journal", root.sync_journal),
                ChildSpec("watch", root.watch),
                ChildSpec("spares", shelf),
                ChildSpec("control", Control(root, crew, state, run_folder)),
                _coordinator(root, config, run_folder),
                ChildSpec("node", node, Restart.TEMPORARY, significant=True),
                *_tracker(root, config, run_folder),
            ),
        )
    )


def _coordinator(root: Root, config: Config, run_folder: Path) -> ChildSpec:
    spec = ProcessSpec(
        launch.command("runtime.app.coordinator", "--run-folder", str(run_folder)),
        run_folder / "logs" / "coordinator.log",
        term_after_seconds=config.supervision.shutdown_s,
        fatal_codes=frozenset({UNRECOVERABLE}),
    )
    return ChildSpec(
        "coordinator",
        ProcessActor(spec, root.coordinator_hooks),
        Restart.TRANSIENT,
        start_seconds=START_SECONDS,
        fatal=(FatalExit,),
        address=root.coordinator,
    )


def _tracker(root: Root, config: Config, run_folder: Path) -> tuple[ChildSpec, ...]:
    """Last, so that nobody waits for its start; temporary, so that its end is nobody's."""
    if config.wandb.mode == "disabled":
        return ()
    spec = ProcessSpec(
        launch.command(
            "runtime.app.tracker", "--run-folder", str(run_folder), "--finish-seconds", str(TRACKER_FINISH_SECONDS)
        ),
        run_folder / "logs" / "tracker.log",
        env=dict(config.cluster.env),
        term_after_seconds=TRACKER_FINISH_SECONDS + 5.0,
        kill_after_seconds=1.0,
    )
    actor = ProcessActor(spec, root.tracker_hooks)
    return (ChildSpec("tracker", actor, Restart.TEMPORARY, start_seconds=START_SECONDS, address=root.tracker),)


def _spares(config: Config, run_folder: Path, workers: int, attendance: Attendance) -> SpareShelf:
    """Worker processes without a rank, their imports done."""
    words = ("--rank", "-1", "--run-folder", str(run_folder), "--workers-here", str(workers))
    spec = ProcessSpec(
        launch.command("runtime.app.worker", *words), run_folder / "logs" / "spare.log", env=dict(config.cluster.env)
    )
    return SpareShelf(spec, config.supervision.spare, attendance.complete)


def _worker(
    root: Root, config: Config, run_folder: Path, rank: int, workers: int, shelf: SpareShelf, *, is_added: bool = False
) -> ChildSpec:
    """`is_added`: to a live run, so that a spare may be its first incarnation."""
    words = ("--rank", str(rank), "--run-folder", str(run_folder), "--workers-here", str(workers))
    spec = ProcessSpec(
        launch.command("runtime.app.worker", *words),
        run_folder / "logs" / f"worker-{rank}.log",
        env=dict(config.cluster.env),
        term_after_seconds=config.supervision.shutdown_s,
        fatal_codes=frozenset({UNRECOVERABLE, CANNOT_START}),
    )

    def replacement(incarnation: Incarnation) -> Spawned | None:
        spare = shelf.take()
        if spare is not None:
            spare.orders.put(Order(ASSUME, {"rank": rank, "incarnation": incarnation}))
        return spare

    begin = 1 if is_added else 2  # at the start of a run there are no spares
    return _child(root, rank, ProcessActor(spec, root.worker_hooks(rank), replacement=replacement, replaced_from=begin))


def _far_worker(root: Root, config: Config, run_folder: Path, rank: int, host: str, ssh: str) -> ChildSpec:
    """A worker on another machine, as a process of this one: see `runtime.app.link`."""
    words = ("--rank", str(rank), "--run-folder", str(run_folder), "--host", host)
    far = ("--remote-command", config.cluster.remote_command, "--ssh", ssh)
    spec = ProcessSpec(
        launch.command("runtime.app.link", *words, *far),
        run_folder / "logs" / f"worker-{rank}.log",
        term_after_seconds=config.supervision.shutdown_s,
        fatal_codes=frozenset({UNRECOVERABLE, CANNOT_START}),
    )
    return _child(root, rank, ProcessActor(spec, root.worker_hooks(rank)))


def _child(root: Root, rank: int, actor: ProcessActor) -> ChildSpec:
    return ChildSpec(
        f"worker-{rank}",
        actor,
        Restart.TRANSIENT,
        start_seconds=START_SECONDS,
        fatal=(FatalExit,),
        address=root.worker_address(rank),
    )
