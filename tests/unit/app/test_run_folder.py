from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.app.run_folder import RunFolder, open_run_folder, sentence
from runtime.app.run_lock import owner_of
from runtime.errors import RunFolderError, UsageError
from runtime.events import Envelope, Event, Outcome, RunFinished, RunStarted
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Step

CONFIG = "schema = 1\n"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def _short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def opened(runs: Path, name: str = "quick", *, resume: str = "auto", config: str = CONFIG) -> RunFolder:
    return open_run_folder(runs, name, resume=resume, config_toml=config, command="mlx-distributed run quick.toml")


def told(folder: RunFolder, *facts: Event) -> None:
    """Append facts to the folder's journal, as a root process would."""
    journal = Journal(folder.journal_path)
    for seq, fact in enumerate(facts, journal.next_seq):
        journal.write(Envelope(seq, 0.0, ActorPath("root"), fact))
    journal.close()


def a_run(runs: Path, *facts: Event, **how: str) -> Path:
    """A run that came and went: its folder."""
    with opened(runs, **how) as folder:
        told(folder, RunStarted("quick", 2, Step(1), Step(9), 32, "c"), *facts)
        return folder.path


def ended(outcome: Outcome) -> RunFinished:
    return RunFinished(outcome, Step(9), 1.0)


def test_a_first_run_makes_its_folder_and_says_nothing(runs: Path) -> None:
    with opened(runs) as folder:
        assert folder.path == runs / "quick"
        assert (folder.name, folder.resumed, folder.said, folder.resume_from) == ("quick", False, "", None)
        assert folder.config_path.read_text() == CONFIG
        inner = (folder.checkpoints, folder.model, folder.logs, folder.data, folder.pids)
        assert all(each.is_dir() for each in inner)
        assert folder.journal_path == folder.path / "events.jsonl"


def test_an_interrupted_run_goes_on_and_says_so(runs: Path) -> None:
    a_run(runs)
    with opened(runs) as folder:
        assert (folder.path, folder.resumed) == (runs / "quick", True)
        assert folder.said == (f"{runs / 'quick'} was interrupted; going on in it (begin anew with --resume never)")


@pytest.mark.parametrize(
    ("outcome", "word"), [("stopped", "was stopped"), ("failed", "failed"), ("gave_up", "gave up")]
)
def test_a_run_that_did_not_reach_its_end_goes_on(runs: Path, outcome: str, word: str) -> None:
    a_run(runs, ended(outcome))
    with opened(runs) as folder:
        assert folder.resumed
        assert f"quick {word}; going on" in folder.said


def test_after_a_finished_run_the_next_number_begins(runs: Path) -> None:
    a_run(runs, ended("done"))
    a_run(runs, ended("done"))
    with opened(runs) as folder:
        assert (folder.name, folder.resumed) == ("quick-3", False)
        assert folder.said == f"{runs / 'quick-2'} is finished; beginning {runs / 'quick-3'}"


def test_the_newest_number_decides_even_beyond_nine(runs: Path) -> None:
    for _ in range(11):
        a_run(runs, ended("done"))
    interrupted = a_run(runs)
    assert interrupted.name == "quick-12"
    with opened(runs) as folder:
        assert (folder.path, folder.resumed) == (interrupted, True)


def test_a_finished_run_that_was_continued_and_killed_is_interrupted(runs: Path) -> None:
    path = a_run(runs, ended("stopped"))
    with opened(runs) as folder:
        told(folder, RunStarted("quick", 2, Step(5), Step(9), 32, "c"))
    with opened(runs) as folder:
        assert (folder.path, folder.resumed) == (path, True)


def test_a_run_that_never_stated_a_fact_is_begun_in_its_folder(runs: Path) -> None:
    opened(runs).release()
    with opened(runs) as folder:
        assert (folder.name, folder.resumed, folder.said) == ("quick", False, "")


def test_resume_never_leaves_an_interrupted_run_alone(runs: Path) -> None:
    a_run(runs)
    with opened(runs, resume="never") as folder:
        assert (folder.name, folder.resumed) == ("quick-2", False)


def test_resume_with_a_runs_folder_goes_on_there(runs: Path) -> None:
    first = a_run(runs, ended("stopped"))
    a_run(runs, resume="never")
    with opened(runs, resume=str(first)) as folder:
        assert (folder.path, folder.resumed) == (first, True)
        assert folder.said == f"going on in {first}, as asked"


def test_resume_with_a_checkpoint_begins_a_new_run_from_it(runs: Path) -> None:
    checkpoint = a_run(runs, ended("done")) / "checkpoints" / "step-00000005"
    checkpoint.mkdir()
    (checkpoint / "manifest.json").write_text("{}")
    with opened(runs, resume=str(checkpoint)) as folder:
        assert (folder.name, folder.resumed, folder.resume_from) == ("quick-2", False, checkpoint)
        assert folder.said == f"{runs / 'quick-2'} begins from {checkpoint}"


def test_resume_with_a_wrong_path_starts_nothing(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume nowhere: does not exist; `auto` goes on"):
        opened(runs, resume="nowhere")
    with pytest.raises(UsageError, match="neither a run's folder nor a checkpoint's"):
        opened(runs, resume=str(tmp_path))
    assert list(runs.iterdir()) == []


def test_a_name_that_is_no_folder_name_is_refused(runs: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        opened(runs, "../escape")
    assert not runs.exists()


def test_foreign_files_and_folders_of_the_name_are_left_alone(runs: Path) -> None:
    runs.mkdir()
    (runs / "quick").write_text("mine")
    (runs / "quick-2").mkdir()
    (runs / "quick-old").mkdir()
    with opened(runs) as folder:
        assert folder.name == "quick-3"
    assert (runs / "quick").read_text() == "mine"


def test_a_changed_configuration_is_told_and_the_old_one_kept(runs: Path) -> None:
    path = a_run(runs)
    with opened(runs) as folder:
        assert not folder.config_changed
    with opened(runs, config="schema = 1  # other\n") as folder:
        assert folder.config_changed
    assert (path / "config.previous.toml").read_text() == CONFIG
    assert (path / "config.toml").read_text() == "schema = 1  # other\n"


def test_a_folder_in_use_names_the_process_and_the_next_move(runs: Path) -> None:
    with opened(runs), pytest.raises(RunFolderError) as refused:
        opened(runs)
    pid = os.getpid()
    assert str(refused.value) == (
        f"{runs / 'quick'} is in use by process {pid} (mlx-distributed run quick.toml); "
        f"stop it with `kill -INT {pid}` (it saves a checkpoint first), or begin another run with --resume never"
    )


def test_beside_a_live_run_resume_never_begins_another(runs: Path) -> None:
    with opened(runs), opened(runs, resume="never") as folder:
        assert folder.name == "quick-2"


def test_a_released_folder_is_free_and_has_no_owner(runs: Path) -> None:
    folder = opened(runs)
    owner = owner_of(folder.path)
    assert owner is not None
    assert (owner.process.pid, owner.run_id) == (os.getpid(), folder.run_id)
    folder.release()
    folder.release()
    assert owner_of(folder.path) is None
    opened(runs).release()


@pytest.fixture
def owner(runs: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that holds the folder, and a child of it that was started by exec."""
    program = """
        import subprocess, sys, time
        from pathlib import Path
        from runtime.app.run_folder import open_run_folder
        folder = open_run_folder(Path(sys.argv[1]), "quick", resume="auto", config_toml="", command="elsewhere")
        child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        time.sleep(600)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(program), str(runs)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    with process:
        yield process
        process.kill()
        os.kill(child, 9)


def test_a_killed_owner_leaves_the_folder_free_though_its_child_lives(runs: Path, owner: subprocess.Popen[str]) -> None:
    with pytest.raises(RunFolderError, match=f"in use by process {owner.pid} \\(elsewhere\\)"):
        opened(runs)
    assert owner_of(runs / "quick") is not None
    owner.kill()
    owner.wait()
    assert owner_of(runs / "quick") is None
    opened(runs).release()


def test_an_output_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    file.write_text("")
    for output_dir in (file, file / "deeper"):
        with pytest.raises(RunFolderError) as refused:
            opened(output_dir)
        assert str(refused.value) == f"{file} is a file and not a folder; set run.output_dir to another one"


def test_an_inner_folder_that_is_a_file_gives_the_run_folder_free_again(runs: Path) -> None:
    (runs / "quick").mkdir(parents=True)
    (runs / "quick" / "config.toml").write_text(CONFIG)
    (runs / "quick" / "logs").write_text("")
    for _ in range(2):
        with pytest.raises(RunFolderError, match=r"quick.* set run.output_dir"):
            opened(runs)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_write_permission_is_one_sentence(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(RunFolderError, match="is not writable for you"):
        opened(locked / "runs")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            errno.EACCES,
            "runs/q is not writable for you; change its permissions, or set run.output_dir to another folder",
        ),
        (
            errno.EPERM,
            "runs/q is not writable for you; change its permissions, or set run.output_dir to another folder",
        ),
        (errno.EROFS, "runs/q is on a read-only file system; set run.output_dir to another folder"),
        (errno.ENOSPC, "no space left for runs/q; free some, or set run.output_dir to another disk"),
        (errno.EDQUOT, "no space left for runs/q; free some, or set run.output_dir to another disk"),
        (errno.EIO, "runs/q cannot be used as a run folder: Input/output error; set run.output_dir to another one"),
    ],
)
def test_what_the_file_system_refuses_is_one_sentence_with_a_next_move(number: int, text: str) -> None:
    assert sentence(Path("runs/q"), OSError(number, os.strerror(number))) == text
