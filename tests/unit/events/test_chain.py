from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events.chain import Chain


def grown(items: range | list[int], limit: int = 0) -> Chain[int]:
    chain: Chain[int] = Chain(limit)
    for item in items:
        chain = chain.append(item)
    return chain


@settings(deadline=None)
@given(st.integers(0, 300))
def test_an_unlimited_chain_holds_what_was_appended_in_order(count: int) -> None:
    chain = grown(range(count))
    assert list(chain) == list(range(count))
    assert len(chain) == count
    assert chain.last == (count - 1 if count else None)
    assert chain == Chain.of(range(count))


@settings(deadline=None)
@given(st.integers(0, 600), st.integers(1, 200))
def test_a_limited_chain_keeps_the_newest_and_little_more(count: int, limit: int) -> None:
    chain = grown(range(count), limit)
    assert list(chain) == list(range(count - len(chain), count))
    assert min(count, limit) <= len(chain) <= limit + 126


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_growing_a_chain_leaves_the_older_one_as_it_was(count: int, more: int) -> None:
    old = grown(range(count))
    before = list(old)
    new = old
    for item in range(more):
        new = new.append(-item)
    assert list(old) == before
    assert len(new) == count + more


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300))
def test_newest_gives_the_last_ones_in_order(count: int, wanted: int) -> None:
    assert grown(range(count)).newest(wanted) == tuple(range(count))[-wanted:]


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(-1, 300))
def test_without_end_drops_from_the_new_end_only(count: int, keep: int) -> None:
    chain = grown(range(count)).without_end(lambda item: item > keep)
    assert list(chain) == [item for item in range(count) if item <= keep]


def test_a_chain_that_needs_no_cut_is_itself() -> None:
    chain = grown(range(10))
    assert chain.without_end(lambda _: False) is chain


def test_a_chain_built_at_once_obeys_its_limit() -> None:
    assert 100 <= len(Chain.of(range(1000), limit=100)) <= 163
