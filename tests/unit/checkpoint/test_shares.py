"""Who writes what: every writer comes to the same answer, everything is written once, nobody has much more to do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.checkpoint.shares import Share, StateSizes, share_out
from tests.unit.checkpoint.worlds import snapshot

names = st.text("abc.", min_size=1, max_size=6)
tensors = st.dictionaries(names, st.integers(0, 10_000), max_size=20)


@given(tensors, tensors, st.integers(1, 9), st.integers(1, 30_000))
def test_every_tensor_is_in_exactly_one_share_and_no_share_is_too_small_or_too_large(
    parameters: dict[str, int], optimizer: dict[str, int], writers: int, least_bytes: int
) -> None:
    sizes = StateSizes(parameters, optimizer)
    shares = share_out(sizes, writers, least_bytes)
    assert 1 <= len(shares) <= writers
    for role, whole in (("parameters", parameters), ("optimizer", optimizer)):
        assert sorted(name for share in shares for name in getattr(share, role)) == sorted(whole)
    filled = [sum(map(parameters.get, share.parameters)) + sum(map(optimizer.get, share.optimizer)) for share in shares]
    largest = max([*parameters.values(), *optimizer.values()], default=0)
    assert max(filled) - min(filled) <= largest
    assert len(shares) == 1 or sum(filled) / len(shares) >= least_bytes


def test_the_order_in_which_a_worker_knows_its_tensors_does_not_matter() -> None:
    sizes = {"a": 5, "b": 5, "c": 9, "d": 1}
    backwards = dict(reversed(sizes.items()))
    assert share_out(StateSizes(sizes, sizes), 3, 1) == share_out(StateSizes(backwards, backwards), 3, 1)


def test_a_small_state_is_not_cut() -> None:
    (share,) = share_out(StateSizes({"a": 1000}, {"m.a": 1000}), 4)
    assert share == Share({"a"}, {"m.a"})


def test_a_share_of_a_state_is_the_same_arrays() -> None:
    state = snapshot(3)
    share = Share({"model.layers.0.bias"}, set()).of(state)
    assert share.parameters == {"model.layers.0.bias": state.parameters["model.layers.0.bias"]}
    assert share.optimizer == {}
    assert (share.step, share.cursor, share.counters) == (state.step, state.cursor, state.counters)
