"""Where a run begins: the newest good checkpoint of its folder, one named by the user, or the initial model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from runtime.app.positions import point_to_json
from runtime.app.run_folder import RunFolder
from runtime.checkpoint.reader import Rejected, check_base, check_optimizer, newest_good, verify
from runtime.checkpoint.refusals import ForeignCheckpoint
from runtime.cluster.messages import RestorePoint
from runtime.config.schema import Config
from runtime.errors import CheckpointError, UsageError
from runtime.events import CheckpointRejected
from runtime.events.branches import branch_of
from runtime.ids import Cursor, Step
from runtime.models.base import base_name


def start_point(
    folder: RunFolder, say: Callable[[str], None], rejected: Callable[[CheckpointRejected], None], config: Config
) -> dict[str, Any]:
    """The restore point as JSON; its path is relative to the run's folder.

    Checkpoints that are broken, or of a branch that a rollback cut off, are set aside, and each is a fact for the
    journal, `rejected`. Raises CheckpointError when the one that the user named is broken, and UsageError when the
    newest good one has another optimizer's state than `config`'s, or another base.
    """
    if folder.resume_from is not None:
        manifest = verify(folder.resume_from)
        target = folder.checkpoints / folder.resume_from.name
        try:
            shutil.copytree(folder.resume_from, target)
        except OSError as error:
            raise CheckpointError(f"{folder.resume_from} cannot be copied to {target}: {error.strerror}") from error
        say(f"beginning from {folder.resume_from} (step {manifest.step})")
    branch = branch_of(folder.journal_path)

    def objection(step: Step) -> str:
        return "the run had gone back behind it when it was written" if branch.is_abandoned(step) else ""

    found = newest_good(folder.checkpoints, on_rejected=lambda each: rejected(_fact(folder, each)), objection=objection)
    if found is None:
        return point_to_json(RestorePoint(Step(0), Cursor(0), ""))
    manifest = found.manifest
    try:
        check_optimizer(found, config.optim.name)
        check_base(found, base_name(config.model))
    except ForeignCheckpoint as foreign:
        raise UsageError(str(foreign)) from foreign
    if folder.resumed:
        say(f"resuming from the checkpoint of step {manifest.step}")
    path = str(found.folder.relative_to(folder.path))
    return point_to_json(RestorePoint(manifest.step, manifest.cursor, path, manifest.counters))


def _fact(folder: RunFolder, found: Rejected) -> CheckpointRejected:
    place = "" if found.moved_to is None else f"; it was moved to {found.moved_to.relative_to(folder.path)}"
    return CheckpointRejected(str(found.path.relative_to(folder.path)), f"{found.reason}{place}")
