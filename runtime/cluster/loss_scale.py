"""The factor that float16's loss is multiplied with, so that small gradients do not vanish; the sum is divided by it.

Dynamic as torch.amp.GradScaler has it: a gradient that overflows anywhere is skipped everywhere and halves the factor,
2000 applied steps in a row double it, and it is never less than 1. All of this is a function of the committed steps,
and is kept in the counters of the position: every worker, a successor of the coordinator and a resumed run have the
same one. The factors are powers of two, so multiplying and dividing costs no bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

INITIAL = 2.0**16
GROWTH = 2.0
GROWTH_STEPS = 2000
BACKOFF = 0.5
LEAST = 1.0
MOST = 2.0**127
"""The largest power of two of fp32; reached only where nothing overflows, as on a CPU that computes in fp32."""

_VALUE, _GOOD = "scale.value", "scale.good_in_a_row"

Counters = Mapping[str, float]


@dataclass(frozen=True)
class LossScale:
    """The rule of one run."""

    initial: float = INITIAL
    dynamic: bool = True
    growth_steps: int = GROWTH_STEPS

    @staticmethod
    def configured(dtype: str, setting: str | float) -> LossScale | None:
        """From `model.dtype` and `optim.loss_scale`: "dynamic", or a number that stays. None: nothing is scaled."""
        if dtype != "float16":
            return None
        return LossScale() if isinstance(setting, str) else LossScale(setting, dynamic=False)

    def after(self, counters: Counters) -> float:
        """The factor of the step that follows the state with these counters."""
        return counters.get(_VALUE, self.initial) if self.dynamic else self.initial

    def explains(self, counters: Counters, loss: float) -> bool:
        """Whether a gradient of this step that is not finite is part of the search for a factor, and nobody's fault.

        It is not when the loss itself is no number, or when no smaller factor is left to try.
        """
        return self.dynamic and math.isfinite(loss) and self.after(counters) > LEAST

    def follow(self, counters: Counters, *, finite: bool, applied: bool) -> dict[str, float]:
        """The counters after one more committed step with a gradient that was finite or not."""
        after = dict(counters)
        if not self.dynamic:
            return after
        value, good = self.after(counters), counters.get(_GOOD, 0.0)
        if not finite:
            value, good = max(LEAST, value * BACKOFF), 0.0
        elif applied:
            good += 1
        if good >= self.growth_steps:
            value, good = min(MOST, value * GROWTH), 0.0
        after[_VALUE] = value
        after[_GOOD] = good
        return after
