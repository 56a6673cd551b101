"""The six optimizers as their papers (or torch) state them: one parameter, float64 numpy, nothing of ours imported.

Each is `step(p, g, state, lr, t, decay) -> p`; `state` is a dict that it fills at t = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = npt.NDArray[np.float64]
State: TypeAlias = dict[str, Any]
Step: TypeAlias = Callable[[Matrix, Matrix, State, float, int, float], Matrix]

BETAS = (0.9, 0.95)
EPS = 1e-8


def _adam_direction(g: Matrix, state: State, t: int) -> Matrix:
    (b1, b2), zero = BETAS, np.zeros_like(g)
    state["m"] = b1 * state.get("m", zero) + (1 - b1) * g
    state["v"] = b2 * state.get("v", zero) + (1 - b2) * g**2
    return state["m"] / (1 - b1**t) / (np.sqrt(state["v"] / (1 - b2**t)) + EPS)


def adamw(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    return p - lr * decay * p - lr * _adam_direction(g, state, t)


def adam(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    return p - lr * _adam_direction(g + decay * p, state, t)


def sgd(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    state["m"] = BETAS[0] * state["m"] + g + decay * p if t > 1 else g + decay * p
    return p - lr * state["m"]


def lion(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    m = state.get("m", np.zeros_like(g))
    state["m"] = BETAS[1] * m + (1 - BETAS[1]) * g
    return p - lr * decay * p - lr * np.sign(BETAS[0] * m + (1 - BETAS[0]) * g)


def newton_schulz(u: Matrix) -> Matrix:
    """The quintic 3.4445 x - 4.7750 x^3 + 2.0315 x^5, five times, on singular values: by the SVD, not by products."""
    left, singular, right = np.linalg.svd(u, full_matrices=False)
    singular = singular / (math.sqrt(float((singular**2).sum())) + 1e-7)
    for _ in range(5):
        singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
    return (left * singular) @ right


def muon(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    """For a matrix of a layer; what else there is belongs to adamw."""
    b1 = BETAS[0]
    state["m"] = b1 * state.get("m", np.zeros_like(g)) + (1 - b1) * g
    direction = newton_schulz(b1 * state["m"] + (1 - b1) * g)
    return p - lr * decay * p - lr * 0.2 * math.sqrt(max(p.shape)) * direction


def adafactor(p: Matrix, g: Matrix, state: State, lr: float, t: int, decay: float) -> Matrix:
    b, squares = 1 - t**-0.8, g**2 + 1e-30
    if g.ndim == 1:
        state["v"] = b * state.get("v", 0.0) + (1 - b) * squares
        estimate = state["v"]
    else:
        state["r"] = b * state.get("r", 0.0) + (1 - b) * squares.mean(axis=1)
        state["c"] = b * state.get("c", 0.0) + (1 - b) * squares.mean(axis=0)
        estimate = np.outer(state["r"], state["c"]) / state["r"].mean()
    u = g / np.sqrt(estimate)
    u = u / max(1.0, math.sqrt(float((u**2).mean())))
    return p - lr * decay * p - lr * u


STEPS: dict[str, Step] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
    "lion": lion,
    "muon": muon,
    "adafactor": adafactor,
}


def step_of(optimizer: str, parameter: str, ndim: int) -> Step:
    """The rule for a parameter of a llama: Muon leaves all but the layers' matrices to AdamW."""
    if optimizer == "muon" and not (ndim == 2 and ".layers." in parameter):
        return adamw
    return STEPS[optimizer]
