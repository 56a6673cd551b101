"""How training goes, in a few lines: loss and speed as small curves, and where a step's time goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.state.devices import split_lines
from console.state.figures import count
from console.state.spans import Line, between, line
from console.state.sparkline import sparkline
from runtime.view.cards import RunCard

_LABEL, _VALUE = 9, 9
MOST = 6
"""Lines, where there is room for all."""


def pulse_lines(run: RunCard, curves: Mapping[str, Sequence[float]], width: int, height: int = MOST) -> list[Line]:
    """A line a curve that the run has, then the split of a step; what tells least is left out beyond `height`."""
    held_out = next((name for name in curves if name.endswith("/loss")), "")
    wanted = [
        ("loss", "loss", _number(run.smoothed_loss)),
        (held_out.removesuffix("/loss")[: _LABEL - 1], held_out, _last(curves.get(held_out, ()))),
        ("tok/s", "tokens_per_second", count(run.tokens_per_second)),
        ("grad", "grad_norm", _number(run.grad_norm)),
    ]
    lines = [_curve(label, curves[name], value, width) for label, name, value in wanted if curves.get(name)]
    if not lines:
        return [line(("no step yet", "dim"))]
    split = split_lines(run, width)
    split = split[: max(1, height - len(lines))]  # its legend is what can best be missed
    return [*lines[: max(1, height - len(split))], *split]


def _curve(label: str, values: Sequence[float], value: str, width: int) -> Line:
    drawn = sparkline(values, max(4, width - _LABEL - _VALUE))
    return between(line((f"{label:<{_LABEL}}", "dim"), (drawn, "curve")), line((f"{value:>{_VALUE}}", "strong")), width)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


def _last(values: Sequence[float]) -> str:
    return _number(values[-1]) if values else ""
