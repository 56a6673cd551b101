"""Why a checkpoint is not used. The class decides what happens to it: broken ones are set aside, foreign ones stay."""

from __future__ import annotations

from runtime.errors import CheckpointError


class BrokenCheckpoint(CheckpointError):
    """Its bytes are not those that were written: something is missing, cut off or changed. An older one must serve."""


class ForeignCheckpoint(CheckpointError):
    """Sound, but not for this run: of another model or optimizer, or of a newer program. It stays where it is."""
