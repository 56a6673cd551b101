"""The supervision tree of a run, as data: who is restarted, who is fatal, and what each process is started with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import launch
from runtime.actors import FatalExit, ProcessActor
from runtime.app.exits import CANNOT_START, UNRECOVERABLE
from runtime.app.root import Briefing, Root
from runtime.app.tree import run_tree
from runtime.cluster.detector import HangDetector
from runtime.config.load import load_config
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.supervision import ChildSpec, Restart, Strategy, Supervisor
from tests.support.tiny import write_tiny_config

WORKERS = 3


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    journal = Journal(tmp_path / "events.jsonl")
    briefing = Briefing("id", "token", WORKERS, "hash", "0.1", "the command", {})
    yield Root(journaled_bus(journal), journal, briefing, HangDetector(6.0, 20.0))
    journal.close()


@pytest.fixture
def tree(root: Root, tmp_path: Path) -> Supervisor:
    policy: dict[str, object] = {"intensity": 5, "period_s": 60.0, "backoff_s": 0.25, "shutdown_s": 9.0}
    extra: dict[str, dict[str, object]] = {"supervision": policy, "cluster": {"env": {"MARK": "yes"}}}
    config = load_config(write_tiny_config(tmp_path / "config", extra=extra))
    return run_tree(root, config, tmp_path / "run", WORKERS)


def children(supervisor: Supervisor) -> dict[str, ChildSpec]:
    return {child.id: child for child in supervisor.spec.children}


def process_of(child: ChildSpec) -> ProcessActor:
    assert isinstance(child.start, ProcessActor)
    return child.start


def test_the_journal_starts_first_and_the_workers_last(tree: Supervisor) -> None:
    names = [child.id for child in tree.spec.children]
    assert (names[0], names[-1]) == ("journal", "node")
    assert {"watch", "coordinator"} <= set(names)


def test_the_run_is_over_when_the_workers_are(tree: Supervisor, root: Root) -> None:
    node = children(tree)["node"]
    assert node.significant
    assert node.start is root.node
    assert [child.significant for name, child in children(tree).items() if name != "node"] == [False] * (
        len(tree.spec.children) - 1
    )


def test_the_configurations_policy_holds_for_the_run_and_for_the_workers(tree: Supervisor, root: Root) -> None:
    assert root.node is not None
    for spec in (tree.spec, root.node.spec):
        assert (spec.strategy, spec.intensity, spec.period_seconds) == (Strategy.ONE_FOR_ONE, 5, 60.0)


def test_a_coordinator_that_is_done_is_not_started_again_but_a_dead_one_is(tree: Supervisor) -> None:
    assert children(tree)["coordinator"].restart is Restart.TRANSIENT


def test_each_rank_is_a_process_that_ps_can_tell_apart(tree: Supervisor, root: Root, tmp_path: Path) -> None:
    assert root.node is not None
    for rank in range(WORKERS):
        child = children(root.node)[f"worker-{rank}"]
        spec = process_of(child).spec
        assert spec.argv[:7] == launch.command("runtime.app.worker", "--rank", str(rank))
        assert spec.log_path == tmp_path / "run" / "logs" / f"worker-{rank}.log"
        assert spec.env == {"MARK": "yes"}
        assert spec.term_after_seconds == 9.0
        assert child.address is root.worker_address(rank)


def test_only_what_no_restart_cures_ends_the_run_at_once(tree: Supervisor, root: Root) -> None:
    assert root.node is not None
    worker, coordinator = children(root.node)["worker-0"], children(tree)["coordinator"]
    assert worker.fatal == coordinator.fatal == (FatalExit,)
    assert process_of(worker).spec.fatal_codes == {UNRECOVERABLE, CANNOT_START}
    assert process_of(coordinator).spec.fatal_codes == {UNRECOVERABLE}


def test_a_tracker_starts_last_and_its_end_is_nobodys(root: Root, tree: Supervisor, tmp_path: Path) -> None:
    assert "tracker" not in children(tree)
    config = load_config(write_tiny_config(tmp_path / "tracked", extra={"wandb": {"mode": "offline"}}))
    tracked = run_tree(root, config, tmp_path / "run", WORKERS)
    child = tracked.spec.children[-1]
    assert (child.id, child.restart, child.significant, child.fatal) == ("tracker", Restart.TEMPORARY, False, ())
    assert child.address is root.tracker
    spec = process_of(child).spec
    assert spec.argv[:7] == launch.command("runtime.app.tracker", "--run-folder", str(tmp_path / "run"))
    assert spec.term_after_seconds > float(spec.argv[-1])  # it gives up by itself before it is made to


def test_each_of_the_other_machines_has_a_worker_behind_a_link(root: Root, tmp_path: Path) -> None:
    far = {"hosts": ["kim@localhost:2222", "localhost"], "remote_command": "/opt/mlx-distributed"}
    config = load_config(write_tiny_config(tmp_path / "config", extra={"cluster": far}))
    node = children(run_tree(root, config, tmp_path / "run", 1, ssh="ssh -F lab"))["node"].start
    assert isinstance(node, Supervisor)
    assert list(children(node)) == ["worker-0", "worker-1", "worker-2"]
    for rank, host in ((1, "kim@localhost:2222"), (2, "localhost")):
        child = children(node)[f"worker-{rank}"]
        process = process_of(child)
        words = process.spec.argv
        assert words[words.index("runtime.app.link") :][1:] == (
            "--rank", str(rank), "--run-folder", str(tmp_path / "run"), "--host", host,
            "--remote-command", "/opt/mlx-distributed", "--ssh", "ssh -F lab",
        )  # fmt: skip
        assert process._replacement is None, "a spare is of this machine"
        assert (child.restart, child.fatal) == (Restart.TRANSIENT, (FatalExit,))
