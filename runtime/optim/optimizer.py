"""The optimizers by name, and what is the same for all: fp32 masters of 16-bit parameters, names, decay groups.

State names are `<moment>.<parameter>` (`m.`, `v.`, `row.`, `col.`) and `master.<parameter>`: flat, so that a checkpoint
is just its arrays. An update of a 16-bit parameter happens in its master and is rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mlx.core as mx

from runtime.config.train import OptimSettings
from runtime.optim import adafactor, adam, adamw, lion, muon, sgd
from runtime.optim.flat import Tree
from runtime.optim.rule import Numbers, Rule, decayed

RULES: Mapping[str, Rule] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
    "lion": lion,
    "muon": muon,
    "adafactor": adafactor,
}
"""Every value of `optim.name`."""

MASTER = "master"
_HALF = (mx.float16, mx.bfloat16)


@dataclass(frozen=True)
class Optimizer:
    """One of the rules with its settings. It holds no arrays."""

    settings: OptimSettings

    @property
    def rule(self) -> Rule:
        """How one parameter is updated."""
        return RULES[self.settings.name]

    @property
    def elementwise(self) -> bool:
        """Whether flat slices of parameters may be updated by themselves, to the same bits (see Rule)."""
        return self.rule.elementwise

    def init(self, parameters: Mapping[str, mx.array]) -> Tree:
        """The state before the first update, lazily."""
        state: Tree = {}
        for name, parameter in parameters.items():
            for moment, shape in self.rule.moments(name, parameter.shape).items():
                state[f"{moment}.{name}"] = mx.zeros(shape, mx.float32)
            if parameter.dtype in _HALF:
                state[f"{MASTER}.{name}"] = parameter.astype(mx.float32)
        return state

    def update(
        self,
        parameters: Mapping[str, mx.array],
        gradients: Mapping[str, mx.array],
        state: Mapping[str, mx.array],
        *,
        lr: mx.array | float,
        step: mx.array | int,
        decayed_names: frozenset[str] | None = None,
    ) -> tuple[Tree, Tree]:
        """New parameters and state after update number `step` (1, 2, ...; only applied updates count), lazily.

        Inside mx.compile pass `lr` and `step` as fp32 scalars. `gradients` are final: divided and clipped. Which
        names decay follows from the parameters' shapes; whoever passes flat slices of them says it.
        """
        settings = self.settings
        if decayed_names is None:
            shapes = {name: tuple(value.shape) for name, value in parameters.items()}
            decayed_names = decayed(shapes, everywhere=settings.decay_all)
        numbers = Numbers(lr, step, settings.betas, settings.eps)
        new_parameters: Tree = {}
        new_state: Tree = {}
        for name, parameter in parameters.items():
            master = f"{MASTER}.{name}"
            moments = {moment: state[f"{moment}.{name}"] for moment in self.rule.moments(name, parameter.shape)}
            weight, moments = self.rule.advance(
                name,
                state.get(master, parameter),
                gradients[name].astype(mx.float32),
                moments,
                settings.weight_decay if name in decayed_names else 0.0,
                numbers,
            )
            new_state |= {f"{moment}.{name}": value for moment, value in moments.items()}
            if master in state:
                new_state[master] = weight
            new_parameters[name] = weight.astype(parameter.dtype)
        return new_parameters, new_state


def refitted(parameters: Tree, state: Tree, dtypes: Mapping[str, mx.Dtype]) -> tuple[Tree, Tree]:
    """The same parameters and state with parameters of these dtypes, lazily; a run may go on with another model.dtype.

    What becomes fp32 is the master that there was, exactly; what becomes 16 bit gets one.
    """
    parameters, state = dict(parameters), dict(state)
    for name, parameter in parameters.items():
        if parameter.dtype == dtypes[name]:
            continue
        exact = state.pop(f"{MASTER}.{name}", parameter).astype(mx.float32)
        parameters[name] = exact.astype(dtypes[name])
        if dtypes[name] in _HALF:
            state[f"{MASTER}.{name}"] = exact
    return parameters, state
