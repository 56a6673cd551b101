"""Every message survives the wire; what no version knows is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlxd_wire import cluster_pb2 as pb

from runtime.cluster import messages as say
from runtime.cluster.wire import from_worker_of_wire, from_worker_to_wire, to_worker_of_wire, to_worker_to_wire
from runtime.errors import ProtocolError
from runtime.flow import CommittedStep, StepOrder

small = st.integers(0, 2**31 - 1)
big = st.integers(0, 2**62)
maybe = st.integers(-1, 2**40)
number = st.floats(allow_nan=False)
text = st.text(max_size=12)
counters = st.dictionaries(st.text(min_size=1, max_size=8), number, max_size=3)
ranks = st.lists(small, max_size=4).map(tuple)
steps = st.lists(big, max_size=3).map(tuple)


def built(kind: Any, *fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, *fields)


members = st.lists(built(say.Member, small, small, text), max_size=3).map(tuple)
tally = built(say.ShardTally, small, number, big, st.lists(big, max_size=4).map(tuple))
answers = st.lists(built(say.Answer, small, text, text, text), max_size=2).map(tuple)
sums = st.dictionaries(text, st.lists(number, max_size=4).map(tuple), max_size=3)
join = built(say.Join, text, small, small, text, maybe, big, big, counters, big, text, text, text, big)
vote = built(
    say.Vote, big, big, st.lists(tally, max_size=3).map(tuple), st.booleans(), number, number, number, number, big, big,
    text, number, number, st.booleans(),
)  # fmt: skip
from_worker = st.one_of(
    join,
    vote,
    built(say.Holding, big, number, big, ranks),
    built(say.Progress, big, text, number),
    built(say.ExchangeFailed, big, big, st.integers(-1, 99), text),
    built(say.Evaluated, big, big, number, big, big, answers, sums),
    built(say.CheckpointDone, big, text, big, number, text, text, text),
    built(say.ShardWritten, big, text, small, text),
)
step_work = built(say.StepWork, built(StepOrder, big, big, big, small, ranks, ranks), number, big)
work = st.one_of(step_work, built(say.EvaluateWork, ranks, small, small), built(say.Rest, text))
verdict = built(say.Verdict, built(CommittedStep, big, st.booleans(), big, number, number), number, big)
save = built(say.Save, text, ranks)
order = built(say.Order, big, members, big, big, counters, st.none() | verdict, work, st.none() | save, steps, counters)
to_worker = st.one_of(
    order,
    built(say.Heal, big, big, counters, members),
    built(say.Restore, big, big, counters, text),
    built(say.Seal, big, text, st.lists(text, max_size=3).map(tuple)),
    built(say.Finish, text, text),
    built(say.Refused, text),
)


@given(from_worker)
def test_what_a_worker_says_arrives_as_it_was_said(message: say.FromWorker) -> None:
    raw = from_worker_to_wire(message).SerializeToString()
    assert from_worker_of_wire(pb.FromWorker.FromString(raw)) == message


@given(to_worker)
def test_what_the_coordinator_says_arrives_as_it_was_said(message: say.ToWorker) -> None:
    raw = to_worker_to_wire(message).SerializeToString()
    assert to_worker_of_wire(pb.ToWorker.FromString(raw)) == message


def test_a_gradient_that_is_not_a_number_stays_one() -> None:
    vote = pb.FromWorker(vote=pb.Vote(grad_square_sum=math.nan))
    message = from_worker_of_wire(vote)
    assert isinstance(message, say.Vote)
    assert math.isnan(message.grad_square_sum)


def test_a_kind_of_message_that_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(ProtocolError, match="are both sides of one version"):
        from_worker_of_wire(pb.FromWorker())
    with pytest.raises(ProtocolError, match="are both of one version"):
        to_worker_of_wire(pb.ToWorker())
