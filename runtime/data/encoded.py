"""A sample as token ids with a mask per token, and the rules by which the mask is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MASKS = ("assistant", "last", "completion", "all")


class Unmaskable(ValueError):
    """This sample cannot be tokenised or masked; the text is the reason for the quarantine."""


@dataclass(frozen=True)
class MaskRules:
    """Which tokens are learnt."""

    mask: str = "assistant"
    """`assistant` every answer, `last` the last one, `completion` the record's completion (the last answer where the
    record has no such part), `all` every token."""
    train_on_stop: bool = True
    """Learn the token that ends an answer."""

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise ValueError(f"there is no mask {self.mask!r}; one of {', '.join(MASKS)}")


@dataclass(frozen=True)
class Encoded:
    """Token ids and, for each, 1 where it is learnt; the first token is a target of nothing and never learnt."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]


def runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """The maximal runs of ones in `mask`, as [start, end)."""
    edges = [at for at in range(len(mask) + 1) if (mask[at] if at < len(mask) else 0) != (mask[at - 1] if at else 0)]
    return list(zip(edges[::2], edges[1::2], strict=True))
