"""The coordinator's learning rate is the configuration's schedule, update by update."""

from __future__ import annotations

import pytest

from runtime.app.rates import rate_of
from runtime.config.schema import Config


def config(**optim: object) -> Config:
    return Config.model_validate({"data": {"source": [{"path": "train.jsonl"}]}, "optim": optim})


def test_a_linear_schedule_warms_up_and_falls_to_its_floor() -> None:
    rate = rate_of(config(lr=1.0, schedule="linear", warmup_steps=4, min_lr_ratio=0.1))
    rising = [rate(update, 20) for update in range(1, 5)]
    falling = [rate(update, 20) for update in range(4, 21)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert max(falling) <= 1.0
    assert rate(20, 20) == pytest.approx(0.1)


def test_the_same_update_of_a_longer_run_has_a_higher_rate() -> None:
    rate = rate_of(config(lr=1.0, schedule="linear", warmup_steps=0))
    assert rate(10, 100) > rate(10, 20)
