"""How training goes, in a few lines: loss and speed as small curves, and where a step's time goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.state.devices import split_lines
from console.state.figures import count
from console.state.spans import Line, between, line
from console.state.sparkline import sparkline
from runtime.view.cards import RunCard

_LABEL, _VALUE = 9, 9


def pulse_lines(run: RunCard, curves: Mapping[str, Sequence[float]], width: int) -> list[Line]:
    """A line a curve that the run has, then the split of a step."""
    held_out = next((name for name in curves if name.endswith("/loss")), "")
    wanted = [
        ("loss", "loss", _number(run.smoothed_loss)),
        (held_out, held_out, _last(curves.get(held_out, ()))),
        ("tok/s", "tokens_per_second", count(run.tokens_per_second)),
        ("grad", "grad_norm", _number(run.grad_norm)),
    ]
    lines = [_curve(label, curves[name], value, width) for label, name, value in wanted if curves.get(name)]
    if not lines:
        return [line(("no step yet", "dim"))]
    return [*lines, *split_lines(run, width)]


def _curve(label: str, values: Sequence[float], value: str, width: int) -> Line:
    short = label if len(label) < _LABEL else label.replace("held-out/", "held ")[: _LABEL - 1]
    drawn = sparkline(values, max(4, width - _LABEL - _VALUE))
    return between(line((f"{short:<{_LABEL}}", "dim"), (drawn, "curve")), line((f"{value:>{_VALUE}}", "strong")), width)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


def _last(values: Sequence[float]) -> str:
    return _number(values[-1]) if values else ""
