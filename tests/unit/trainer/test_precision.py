"""Parameters in 16 bit: what is exact, what is rounded once, and what an overflow of float16 does to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.cluster.loss_scale import LossScale
from runtime.collectives import WireDtype
from runtime.config.load import load_config
from runtime.flow import Snapshot
from runtime.models.device import DeviceKind
from runtime.optim.optimizer import refitted
from runtime.trainer.gradients import GradientFunctions
from runtime.trainer.precision import Precision, precision_of, wire_dtype
from tests.support.tiny import write_tiny_config
from tests.unit.trainer.world import World, as_numpy, bits, build

CPU, CUDA = DeviceKind.CPU, DeviceKind.CUDA


@pytest.mark.parametrize(
    ("name", "kind", "storage", "compute"),
    [
        ("auto", CPU, mx.float32, mx.float32),
        ("auto", CUDA, mx.bfloat16, mx.bfloat16),
        ("auto", DeviceKind.METAL, mx.bfloat16, mx.bfloat16),
        ("float32", CUDA, mx.float32, mx.float32),
        ("bfloat16", CPU, mx.bfloat16, mx.float32),
        ("float16", CPU, mx.float16, mx.float32),
        ("float16", CUDA, mx.float16, mx.float16),
    ],
)
def test_a_cpu_computes_in_fp32_whatever_it_stores(name: str, kind: DeviceKind, storage: Any, compute: Any) -> None:
    assert precision_of(name, kind) == Precision(storage, compute)


@pytest.mark.parametrize(
    ("wire", "dtype", "kind", "deterministic", "expected"),
    [
        ("auto", "bfloat16", CUDA, False, WireDtype.BFLOAT16),
        ("auto", "auto", CUDA, False, WireDtype.BFLOAT16),
        ("auto", "bfloat16", CUDA, True, WireDtype.FLOAT32),  # no bit depends on the number of workers
        ("auto", "bfloat16", CPU, False, WireDtype.FLOAT32),  # its gradients are fp32
        ("auto", "float16", CUDA, False, WireDtype.FLOAT32),
        ("float32", "bfloat16", CUDA, False, WireDtype.FLOAT32),
        ("bfloat16", "float32", CPU, True, WireDtype.BFLOAT16),
    ],
)
def test_gradients_travel_as_backward_yields_them_unless_somebody_says_otherwise(
    tmp_path: Path, wire: str, dtype: str, kind: DeviceKind, deterministic: bool, expected: WireDtype
) -> None:
    extra: dict[str, Any] = {"sync": {"wire_dtype": wire}, "model": {"dtype": dtype}}
    extra |= {"run": {"deterministic": deterministic}, "cluster": {"hosts": ["mini"], "listen": "192.168.1.5:0"}}
    assert wire_dtype(load_config(write_tiny_config(tmp_path, extra=extra)), kind) is expected


def test_within_one_machine_nothing_is_rounded_unless_somebody_says_so(tmp_path: Path) -> None:
    extra: dict[str, Any] = {"model": {"dtype": "bfloat16"}}
    assert wire_dtype(load_config(write_tiny_config(tmp_path, extra=extra)), CUDA) is WireDtype.FLOAT32
    extra |= {"sync": {"wire_dtype": "bfloat16"}}
    assert wire_dtype(load_config(write_tiny_config(tmp_path, extra=extra)), CUDA) is WireDtype.BFLOAT16


def flat_gradient(world: World, step: int = 1) -> np.ndarray[Any, Any]:
    """The summed gradient of one rank, fp32."""
    local = world.locals(world.order(step))[0]
    (flat,) = world.replicas[0].parts(local, (0, 1)).values()
    return np.array(flat)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_on_a_cpu_gradients_are_those_of_fp32_at_the_stored_weights(dtype: mx.Dtype) -> None:
    half, wide = World(dtype=dtype), World()
    rounded = {name: value.astype(mx.float32) for name, value in half.replicas[0].trained.items()}
    state = wide.replicas[0].snapshot()
    wide.replicas[0].adopt(Snapshot(state.step, state.cursor, rounded, state.optimizer))
    assert flat_gradient(half).tobytes() == flat_gradient(wide).tobytes()


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_gradients_computed_in_sixteen_bit_are_near_those_of_fp32(dtype: mx.Dtype) -> None:
    scale = LossScale() if dtype == mx.float16 else None
    found = flat_gradient(World(dtype=dtype, compute=None, loss_scale=scale))
    expected = flat_gradient(World(dtype=dtype))
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) < (2e-3 if dtype == mx.float16 else 2e-2) * np.linalg.norm(expected)


def test_a_scale_that_overflows_nothing_changes_no_bit() -> None:
    plain = flat_gradient(World(dtype=mx.float16))
    for value in (1.0, 2.0**16, 2.0**30):
        scaled = flat_gradient(World(dtype=mx.float16, loss_scale=LossScale(value)))
        assert scaled.tobytes() == plain.tobytes()


def test_float16_really_overflows_and_the_scale_is_found_within_some_skipped_steps() -> None:
    world = World(ranks=2, dtype=mx.float16, compute=None, loss_scale=LossScale(2.0**24), deterministic=True)
    verdicts = [world.step(step) for step in range(1, 14)]
    applied = [verdict.committed.applied for verdict in verdicts]
    assert not applied[0]
    assert applied[-1]
    assert world.counters["scale.value"] == 2.0 ** (24 - applied.count(False))
    assert all(np.isfinite(value).all() for value in world.parameters().values())


def test_one_compilation_serves_every_scale() -> None:
    """Traced, not run: a CPU would start a compiler for it."""
    mx.enable_compile()  # a worker prepared in this process for a short run on a CPU has switched it off
    world = World(dtype=mx.float16)
    model, calls = build(dtype=mx.float16), []

    class Counting(type(model)):
        def __call__(self, tokens_BT: mx.array) -> mx.array:
            calls.append(1)
            return super().__call__(tokens_BT)

    model.__class__ = Counting
    functions = GradientFunctions(model, compiled=True, compute=mx.float32)
    parameters = world.replicas[0].trained
    micro = world.batch(world.order(1), 0).micros[0]
    for scale in (1.0, 2.0, 4.0):
        functions.add(parameters, None, micro.tokens_BT, micro.mask_BT, mx.array(scale))
    assert len(calls) == 1


def test_an_overflow_on_one_worker_skips_everywhere_and_the_scale_s_path_is_that_of_the_table() -> None:
    """Worker 1 overflows at steps 2, 3 and 7; the scale doubles after two steps in a row that count."""
    world = World(ranks=3, dtype=mx.float16, loss_scale=LossScale(1024.0, growth_steps=2), deterministic=True)
    seen, before = [], states(world)
    for step in range(1, 9):
        order = world.order(step)
        locals_ = world.locals(order)
        if step in (2, 3, 7):
            node, tree = next(iter(locals_[1].gradients.items()))
            name = next(iter(tree))
            locals_[1].gradients[node] = {**tree, name: tree[name] + np.inf}
        summed = world.sum(locals_)
        measured = [replica.measure(locals_[rank], summed) for rank, replica in enumerate(world.replicas)]
        verdict, world.counters = world.verdict(order, locals_, measured)
        world.cursor = type(world.cursor)(world.cursor + world.global_batch)
        for replica in world.replicas:
            replica.apply(verdict, world.cursor, world.counters)
        now = states(world)
        assert now[0] == now[1] == now[2]
        assert (now == before) is (step in (2, 3, 7))
        before = now
        seen.append(world.counters["scale.value"])
    assert seen == [1024, 512, 256, 256, 512, 512, 256, 256]


def states(world: World) -> list[dict[str, bytes]]:
    """Every rank's parameters and optimizer state."""
    found = [replica.snapshot() for replica in world.replicas]
    return [bits({**each.parameters, **each.optimizer}) for each in found]


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_sixteen_bit_runs_of_one_and_three_workers_have_the_same_bits_and_so_has_a_resumed_one(dtype: mx.Dtype) -> None:
    scale = LossScale(2.0**10, growth_steps=2) if dtype == mx.float16 else None
    worlds = [World(ranks=ranks, dtype=dtype, loss_scale=scale, deterministic=True) for ranks in (1, 3)]
    for step in (1, 2):
        for world in worlds:
            world.step(step)
    saved = worlds[0].replicas[0].snapshot()
    worlds[0].replicas = [worlds[0].new_replica()]
    worlds[0].replicas[0].adopt(saved)
    for step in (3, 4):
        for world in worlds:
            world.step(step)
    assert states(worlds[0])[0] == states(worlds[1])[0] == states(worlds[1])[2]
    assert worlds[0].replicas[0].trained["model.norm.weight"].dtype == dtype
    if scale is not None:
        assert worlds[0].replicas[0].state is not None
        assert worlds[0].replicas[0].state.counters["scale.value"] == 2.0**12


def test_a_run_goes_on_in_another_dtype_from_its_masters() -> None:
    half = World(dtype=mx.bfloat16)
    half.step(1)
    saved = half.replicas[0].snapshot()
    masters = {
        name.removeprefix("master."): value for name, value in as_numpy(saved.optimizer).items() if "master." in name
    }
    wide = World()
    wide.replicas[0].adopt(saved)
    again = wide.replicas[0].snapshot()
    assert bits(again.parameters) == bits(masters)
    assert not any(name.startswith("master.") for name in again.optimizer)
    back = World(dtype=mx.bfloat16)
    back.replicas[0].adopt(again)
    assert states(back) == states(half)


def test_from_one_sixteen_bit_dtype_to_the_other_the_master_stays() -> None:
    exact = mx.array([1.0 + 2.0**-10])
    parameters, state = refitted(
        {"w": exact.astype(mx.bfloat16), "b": mx.ones(1)},
        {"master.w": exact, "m.w": mx.zeros(1)},
        {"w": mx.float16, "b": mx.float32},
    )
    assert (parameters["w"].item(), parameters["w"].dtype) == (exact.item(), mx.float16)
    assert set(state) == {"master.w", "m.w"}
    assert state["master.w"].item() == exact.item()


def test_held_out_loss_is_computed_in_fp32_as_well() -> None:
    half, wide = World(dtype=mx.bfloat16), World()
    rounded = {name: value.astype(mx.float32) for name, value in half.replicas[0].trained.items()}
    micro = half.batch(half.order(1), 0).micros[0]
    found = half.replicas[0].functions.judge(half.replicas[0].trained, micro.tokens_BT, micro.mask_BT)
    expected = wide.replicas[0].functions.judge(rounded, micro.tokens_BT, micro.mask_BT)
    assert [value.tolist() for value in found] == [value.tolist() for value in expected]


def test_the_rate_of_another_optimizer_reaches_the_update() -> None:
    """`optim.name` is all it takes: a worker's update is that optimizer's."""
    world = World(optim=replace_name("lion"), max_grad_norm=0.0)
    before = world.parameters()
    world.step(1, rate=0.25)
    moved = {round(float(value), 6) for name, each in world.parameters().items() if "norm" in name
             for value in np.abs(each - before[name]).ravel()}  # fmt: skip
    assert moved <= {0.0, 0.25}
    assert 0.25 in moved


def replace_name(name: Any) -> Any:
    return World.optim.model_copy(update={"name": name})
