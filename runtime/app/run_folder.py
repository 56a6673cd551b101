"""The folder of a run: which one, whether it goes on or begins, and that nobody else drives it.

    runs/<name>/config.toml (resolved)  events.jsonl  run.pid  control.sock  logs/  pids/
                checkpoints/  model/  data/

Policy. The newest folder of the name decides (`quick`, else the highest of `quick-2`, `quick-3`, ...):

    resume = "auto"    interrupted, stopped, failed -> go on in it; done -> the next number begins
    resume = "never"   the next number begins, whatever there is
    resume = a run's folder          go on in that folder
    resume = a checkpoint's folder   the next number begins, from that checkpoint: nothing saved is overwritten
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runtime.app.run_lock import LOCK_NAME, RunLock
from runtime.errors import RunFolderError, UsageError
from runtime.events.journal import JournalTail, tail_of
from runtime.ids import RunId, is_run_name

CONFIG_NAME = "config.toml"
JOURNAL_NAME = "events.jsonl"
FOLDERS = ("checkpoints", "model", "logs", "data", "pids")


@dataclass(frozen=True)
class RunFolder:
    """A run folder that this process has locked and made ready; a context that gives it free again."""

    path: Path
    run_id: RunId
    """New for each process: a message of an earlier one is told by it."""
    resumed: bool
    """The folder has an unfinished run that goes on (from its newest good checkpoint, if it has one)."""
    resume_from: Path | None
    """A checkpoint elsewhere that this new run begins from."""
    config_changed: bool
    """Resumed with another configuration than before, which is kept as config.previous.toml."""
    said: str
    """One sentence for the person about which folder was chosen and why; empty where it is the obvious one."""
    lock: RunLock

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.name

    @property
    def journal_path(self) -> Path:
        """Where the facts go."""
        return self.path / JOURNAL_NAME

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG_NAME

    @property
    def checkpoints(self) -> Path:
        """Folder of all checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the initial model's configuration and tokenizer."""
        return self.path / "model"

    @property
    def logs(self) -> Path:
        """Folder of one log for each process."""
        return self.path / "logs"

    @property
    def data(self) -> Path:
        """Folder of what the data path writes, such as quarantine.jsonl."""
        return self.path / "data"

    @property
    def pids(self) -> Path:
        """Folder of the living children's identities."""
        return self.path / "pids"

    def release(self) -> None:
        """Give the folder free. The second call does nothing."""
        self.lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True)
class _Choice:
    path: Path
    lock: RunLock
    resumed: bool
    said: str
    resume_from: Path | None = None


def open_run_folder(output_dir: Path, name: str, *, resume: str, config_toml: str, command: str) -> RunFolder:
    """Choose, lock and prepare the run's folder.

    `resume` is "auto", "never" or a path; `config_toml` the resolved configuration; `command` what the user typed, for
    whoever finds the folder in use.

    Raises:
        UsageError: `resume` names a path that is neither a run's folder nor a checkpoint's.
        RunFolderError: in use by a live run, or not writable; one sentence with the next move.
    """
    if not is_run_name(name):
        raise UsageError(f"run.name: {name!r} cannot name a folder; letters, digits, dots, dashes and underscores can")
    run_id = RunId(uuid.uuid4().hex[:12])
    choice = _choose(output_dir, name, resume, run_id, command)
    try:
        with _writing(choice.path):
            changed = _prepare(choice.path, config_toml)
    except BaseException:  # whatever went wrong, nobody drives this folder
        choice.lock.release()
        raise
    return RunFolder(
        choice.path, run_id, choice.resumed, choice.resume_from, choice.resumed and changed, choice.said, choice.lock
    )


def _choose(output_dir: Path, name: str, resume: str, run_id: str, command: str) -> _Choice:
    with _writing(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
    if resume == "never":
        return _begin(output_dir, name, run_id, command)
    if resume == "auto":
        return _newest_or_next(output_dir, name, run_id, command)
    path = Path(resume).expanduser()
    if (path / JOURNAL_NAME).is_file():
        with _writing(path):
            lock = RunLock.take(path, run_id, command)
        return _Choice(path, lock, resumed=True, said=f"going on in {path}, as asked")
    if not (path / "manifest.json").is_file():
        fact = "is neither a run's folder nor a checkpoint's" if path.exists() else "does not exist"
        raise UsageError(f"--resume {path}: {fact}; `auto` goes on where the last run of this name stopped")
    begun = _begin(output_dir, name, run_id, command)
    return _Choice(begun.path, begun.lock, False, f"{begun.path} begins from {path}", resume_from=path)


def _newest_or_next(output_dir: Path, name: str, run_id: str, command: str) -> _Choice:
    """Go on in the newest folder of the name, or begin in the next one where it is done."""
    newest = _newest(output_dir, name)
    if newest is None:
        return _begin(output_dir, name, run_id, command)
    with _writing(newest):
        lock = RunLock.take(newest, run_id, command)
        tail = tail_of(newest / JOURNAL_NAME)
    if tail.outcome == "done":
        lock.release()
        begun = _begin(output_dir, name, run_id, command)
        return _Choice(begun.path, begun.lock, False, f"{newest} is finished; beginning {begun.path}")
    if not tail.last_seq:  # its root never came to state a fact: nothing to go on with
        return _Choice(newest, lock, resumed=False, said="")
    said = f"{newest} {_how_it_ended(tail)}; going on in it (begin anew with --resume never)"
    return _Choice(newest, lock, resumed=True, said=said)


def _how_it_ended(tail: JournalTail) -> str:
    words = {None: "was interrupted", "stopped": "was stopped", "failed": "failed", "gave_up": "gave up"}
    return words.get(tail.outcome, "ended")


def _newest(output_dir: Path, name: str) -> Path | None:
    """The run folder of this name with the highest number; foreign files and folders do not count."""
    numbered = [(number, path) for number, path in _numbered(output_dir, name) if _is_run_folder(path)]
    return max(numbered)[1] if numbered else None


def _begin(output_dir: Path, name: str, run_id: str, command: str) -> _Choice:
    """Make and lock the next free folder of the name; mkdir decides who of two beginners gets it."""
    highest = max((number for number, _ in _numbered(output_dir, name)), default=0)
    while True:
        path = output_dir / (name if highest == 0 else f"{name}-{highest + 1}")
        with _writing(path):
            try:
                path.mkdir()
            except FileExistsError:
                highest += 1
                continue
            return _Choice(path, RunLock.take(path, run_id, command), resumed=False, said="")


def _numbered(output_dir: Path, name: str) -> Iterator[tuple[int, Path]]:
    """Everything called `name` (1) or `name-N` (N >= 2) in the folder of runs."""
    pattern = re.compile(re.escape(name) + r"(?:-([2-9]|[1-9]\d+))?")
    with _writing(output_dir):
        for path in output_dir.iterdir():
            match = pattern.fullmatch(path.name)
            if match:
                yield int(match.group(1) or 1), path


def _is_run_folder(path: Path) -> bool:
    return any((path / known).is_file() for known in (LOCK_NAME, JOURNAL_NAME, CONFIG_NAME))


def _prepare(path: Path, config_toml: str) -> bool:
    """Make the inner folders and write the configuration; whether another one was there before."""
    for inner in FOLDERS:
        (path / inner).mkdir(exist_ok=True)
    config = path / CONFIG_NAME
    before = config.read_text(encoding="utf-8") if config.exists() else config_toml
    if before != config_toml:
        config.replace(path / "config.previous.toml")
    temporary = path / f"{CONFIG_NAME}.tmp"
    temporary.write_text(config_toml, encoding="utf-8")
    os.replace(temporary, config)
    return before != config_toml


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence with the next move."""
    try:
        yield
    except OSError as problem:
        raise RunFolderError(sentence(path, problem)) from problem


def sentence(path: Path, problem: OSError) -> str:
    """What a person should read when `path` cannot be used because of `problem`."""
    if problem.errno in {errno.EACCES, errno.EPERM}:
        return f"{path} is not writable for you; change its permissions, or set run.output_dir to another folder"
    if problem.errno == errno.EROFS:
        return f"{path} is on a read-only file system; set run.output_dir to another folder"
    if problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"no space left for {path}; free some, or set run.output_dir to another disk"
    if problem.errno in {errno.ENOTDIR, errno.EEXIST}:
        culprit = next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), path)
        return f"{culprit} is a file and not a folder; set run.output_dir to another one"
    return f"{path} cannot be used as a run folder: {problem.strerror or problem}; set run.output_dir to another one"
