"""How fast a run goes, from its state: the figures that every screen and every log line shows alike."""

from __future__ import annotations

from runtime.events.state import RunState

_WINDOW_STEPS = 32


def step_seconds(state: RunState) -> float | None:
    """Mean wall time of a step over the last 32; None before the first."""
    points = state.training.recent.newest(_WINDOW_STEPS)
    return sum(point.seconds for point in points) / len(points) if points else None


def tokens_per_second(state: RunState) -> float | None:
    """Trained tokens per second of wall time over the last 32 steps; None before the first."""
    points = state.training.recent.newest(_WINDOW_STEPS)
    seconds = sum(point.seconds for point in points)
    return sum(point.tokens for point in points) / seconds if seconds > 0 else None


def remaining_seconds(state: RunState) -> float | None:
    """Expected time to the last step at the present pace; None where it cannot be told, 0 after the end."""
    if state.plan is None:
        return None
    left = max(0, state.plan.last_step - state.training.step)
    if left == 0 or state.outcome is not None:
        return 0.0
    pace = step_seconds(state)
    return None if pace is None else left * pace


def smoothed_loss(state: RunState, steps: int = 16) -> float | None:
    """Token-weighted mean loss of the last `steps` applied steps; None where there is none."""
    points = [point for point in state.training.recent.newest(steps) if point.applied and point.tokens > 0]
    tokens = sum(point.tokens for point in points)
    return sum(point.loss * point.tokens for point in points) / tokens if tokens else None


def efficiency(state: RunState) -> float | None:
    """Useful tokens over computed positions of all commits: what padding leaves; None where it is not known."""
    training = state.training
    return training.useful_tokens / training.computed_positions if training.computed_positions else None
