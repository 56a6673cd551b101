"""What `[data]` says about one encoded sample: taken as it is, cut, dropped, or quarantined. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config.data import DataSettings
from runtime.data.encoded import Encoded, Unmaskable
from runtime.data.records import Quarantined, Record
from runtime.errors import DataError


@dataclass(frozen=True)
class Taken:
    """A sample that is trained on."""

    encoded: Encoded
    truncated: bool = False


@dataclass(frozen=True)
class Dropped:
    """A sample that is too long."""


def admitted(data: DataSettings, record: Record, encoded: Encoded | Unmaskable) -> Taken | Dropped | Quarantined:
    """What becomes of it. Raises DataError for a long one where data.overlength = "error"."""
    if isinstance(encoded, Unmaskable):
        return Quarantined(record.file, record.line, str(encoded))
    if not any(encoded.mask):
        return Quarantined(record.file, record.line, "no token of it would be learnt")
    if len(encoded.ids) <= data.max_length:
        return Taken(encoded)
    if data.overlength == "error":
        raise DataError(
            f"{record.file}:{record.line} has {len(encoded.ids)} tokens, more than data.max_length = "
            f'{data.max_length}; raise it, or set data.overlength to "drop" or "truncate"'
        )
    cut = Encoded(encoded.ids[: data.max_length], encoded.mask[: data.max_length])
    if data.overlength == "drop" or not any(cut.mask):  # a truncated prompt without its answer teaches nothing
        return Dropped()
    return Taken(cut, truncated=True)
