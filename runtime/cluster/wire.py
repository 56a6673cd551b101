"""The messages of `messages`, as protobuf and back. The two differ only where protobuf has no word for what we mean."""

from __future__ import annotations

from mlxd_wire import cluster_pb2 as pb

from runtime.cluster.messages import (
    Answer,
    CheckpointDone,
    Evaluated,
    EvaluateWork,
    ExchangeFailed,
    Finish,
    FromWorker,
    Heal,
    Holding,
    Join,
    Member,
    Order,
    Progress,
    Refused,
    Rest,
    Restore,
    Save,
    Seal,
    ShardTally,
    ShardWritten,
    StepWork,
    ToWorker,
    Verdict,
    Vote,
    Work,
)
from runtime.errors import ProtocolError
from runtime.flow import CommittedStep, StepOrder
from runtime.ids import Cursor, Generation, Incarnation, Rank, ShardId, Step


def from_worker_to_wire(message: FromWorker) -> pb.FromWorker:
    """A worker's message, ready to be sent."""
    match message:
        case Join():
            return pb.FromWorker(join=pb.Join(**vars(message)))
        case Holding():
            return pb.FromWorker(holding=pb.Holding(**vars(message)))
        case Progress():
            return pb.FromWorker(progress=pb.Progress(**vars(message)))
        case Vote():
            fields = vars(message) | {"tallies": [pb.ShardTally(**vars(tally)) for tally in message.tallies]}
            return pb.FromWorker(vote=pb.Vote(**fields))
        case ExchangeFailed():
            return pb.FromWorker(exchange_failed=pb.ExchangeFailed(**vars(message)))
        case Evaluated():
            return pb.FromWorker(evaluated=_evaluated_to_wire(message))
        case CheckpointDone():
            return pb.FromWorker(checkpoint_done=pb.CheckpointDone(**vars(message)))
        case ShardWritten():
            return pb.FromWorker(shard_written=pb.ShardWritten(**vars(message)))


def from_worker_of_wire(wire: pb.FromWorker) -> FromWorker:
    """A worker's message, as received. Raises ProtocolError on a kind that this version does not know."""
    kind = wire.WhichOneof("kind")
    match kind:
        case "join":
            return _join(wire.join)
        case "holding":
            held = wire.holding
            return Holding(Step(held.step), held.seconds, held.size_bytes, tuple(map(Rank, held.sources)))
        case "progress":
            return Progress(wire.progress.step, wire.progress.phase, wire.progress.seconds_in_phase)
        case "vote":
            return _vote(wire.vote)
        case "exchange_failed":
            failed = wire.exchange_failed
            return ExchangeFailed(Generation(failed.generation), Step(failed.step), failed.peer, failed.reason)
        case "evaluated":
            return _evaluated(wire.evaluated)
        case "checkpoint_done":
            done = wire.checkpoint_done
            return CheckpointDone(
                Step(done.step), done.path, done.size_bytes, done.seconds, done.parameter_hash, done.error, done.attempt
            )
        case "shard_written":
            shard = wire.shard_written
            return ShardWritten(Step(shard.step), shard.attempt, shard.shards, shard.files)
        case _:
            raise ProtocolError(f"a worker sent a message of an unknown kind ({kind}): are both sides of one version?")


def _evaluated_to_wire(share: Evaluated) -> pb.Evaluated:
    fields = {name: value for name, value in vars(share).items() if name not in {"answers", "sums"}}
    answers = [pb.Answer(**vars(answer)) for answer in share.answers]
    metrics = [pb.MetricSums(metric=metric, sums=sums) for metric, sums in share.sums.items()]
    return pb.Evaluated(**fields, answers=answers, metrics=metrics)


def _evaluated(wire: pb.Evaluated) -> Evaluated:
    answers = tuple(Answer(a.index, a.prompt, a.expected, a.answer) for a in wire.answers)
    sums = {each.metric: tuple(each.sums) for each in wire.metrics}
    place = (Generation(wire.generation), Step(wire.step))
    return Evaluated(*place, wire.loss_sum, wire.tokens, wire.correct, answers, sums)


def _join(wire: pb.Join) -> Join:
    return Join(
        run=wire.run,
        rank=Rank(wire.rank),
        incarnation=Incarnation(wire.incarnation),
        peer_address=wire.peer_address,
        holds=wire.holds,
        prepared=wire.prepared,
        cursor=Cursor(wire.cursor),
        counters=dict(wire.counters),
        samples_in_epoch=wire.samples_in_epoch,
        data_fingerprint=wire.data_fingerprint,
        host=wire.host,
        device=wire.device,
        pid=wire.pid,
        parameters=wire.parameters,
        trained_parameters=wire.trained_parameters,
        slices=tuple(wire.slices),
        stage_address=wire.stage_address,
        is_away=wire.is_away,
    )


def _vote(wire: pb.Vote) -> Vote:
    return Vote(
        generation=Generation(wire.generation),
        step=Step(wire.step),
        tallies=tuple(
            ShardTally(ShardId(tally.shard), tally.loss_sum, tally.tokens, tuple(tally.sample_ids))
            for tally in wire.tallies
        ),
        finite=wire.finite,
        grad_square_sum=wire.grad_square_sum,
        compute_seconds=wire.compute_seconds,
        exchange_seconds=wire.exchange_seconds,
        feed_seconds=wire.feed_seconds,
        useful_tokens=wire.useful_tokens,
        computed_positions=wire.computed_positions,
        parameter_hash=wire.parameter_hash,
        own_square_sum=wire.own_square_sum,
        apply_seconds=wire.apply_seconds,
        is_part=wire.is_part,
    )


def to_worker_to_wire(message: ToWorker) -> pb.ToWorker:
    """The coordinator's message, ready to be sent."""
    match message:
        case Order():
            return pb.ToWorker(order=_order_to_wire(message))
        case Heal():
            fields = vars(message) | {"sources": _members_to_wire(message.sources)}
            return pb.ToWorker(heal=pb.Heal(**fields))
        case Restore():
            return pb.ToWorker(restore=pb.Restore(**vars(message)))
        case Finish():
            return pb.ToWorker(finish=pb.Finish(**vars(message)))
        case Seal():
            return pb.ToWorker(seal=pb.Seal(**vars(message)))
        case Refused():
            return pb.ToWorker(refused=pb.Refused(**vars(message)))


def _members_to_wire(members: tuple[Member, ...]) -> list[pb.Member]:
    return [pb.Member(**vars(member)) for member in members]


def _order_to_wire(order: Order) -> pb.Order:
    wire = pb.Order(
        generation=order.generation,
        members=_members_to_wire(order.members),
        state=order.state,
        cursor=order.cursor,
        counters=order.counters,
        hold=order.hold,
        metrics=order.metrics,
        save=None if order.save is None else pb.Save(**vars(order.save)),
        holders=[pb.Holders(ranks=ranks) for ranks in order.holders],
        keepers=[pb.Holders(ranks=ranks) for ranks in order.keepers],
    )
    if order.verdict is not None:
        verdict = order.verdict
        said = pb.Verdict(**vars(verdict.committed), learning_rate=verdict.learning_rate, update=verdict.update)
        wire.verdict.CopyFrom(said)
    match order.work:
        case StepWork(order=step) as expected:
            wire.step.CopyFrom(pb.StepWork(**vars(step), learning_rate=expected.learning_rate, update=expected.update))
        case EvaluateWork():
            wire.evaluate.CopyFrom(pb.EvaluateWork(**vars(order.work)))
        case Rest():
            wire.rest.CopyFrom(pb.Rest(reason=order.work.reason))
    return wire


def to_worker_of_wire(wire: pb.ToWorker) -> ToWorker:
    """The coordinator's message, as received. Raises ProtocolError on a kind that this version does not know."""
    kind = wire.WhichOneof("kind")
    match kind:
        case "order":
            return _order(wire.order)
        case "heal":
            heal = wire.heal
            return Heal(Step(heal.step), Cursor(heal.cursor), dict(heal.counters), _members(heal.sources))
        case "restore":
            back = wire.restore
            state = Step(back.step), Cursor(back.cursor), dict(back.counters)
            return Restore(*state, back.path, tuple(back.slices))
        case "finish":
            return Finish(wire.finish.outcome, wire.finish.reason)
        case "seal":
            return Seal(Step(wire.seal.step), wire.seal.attempt, tuple(wire.seal.files))
        case "refused":
            return Refused(wire.refused.reason)
        case _:
            raise ProtocolError(f"the coordinator sent an unknown kind of message ({kind}): are both of one version?")


def _members(wires: object) -> tuple[Member, ...]:
    found: list[pb.Member] = list(wires)  # type: ignore[call-overload]  # protobuf's repeated container has no public type
    return tuple(
        Member(Rank(wire.rank), Incarnation(wire.incarnation), wire.peer_address, wire.stage_address) for wire in found
    )


def _order(wire: pb.Order) -> Order:
    verdict = None
    if wire.HasField("verdict"):
        said = wire.verdict
        committed = CommittedStep(
            Step(said.step), said.applied, said.tokens, said.loss_sum, said.grad_norm, said.clip_norm
        )
        verdict = Verdict(committed, said.learning_rate, said.update)
    return Order(
        generation=Generation(wire.generation),
        members=_members(wire.members),
        state=Step(wire.state),
        cursor=Cursor(wire.cursor),
        counters=dict(wire.counters),
        verdict=verdict,
        work=_work(wire),
        save=Save(wire.save.attempt, tuple(map(Rank, wire.save.writers))) if wire.HasField("save") else None,
        hold=tuple(map(Step, wire.hold)),
        metrics=dict(wire.metrics),
        holders=tuple(tuple(map(Rank, slice_.ranks)) for slice_ in wire.holders),
        keepers=tuple(tuple(map(Rank, slice_.ranks)) for slice_ in wire.keepers),
    )


def _work(wire: pb.Order) -> Work:
    match wire.WhichOneof("work"):
        case "step":
            step = wire.step
            return StepWork(
                StepOrder(
                    generation=Generation(step.generation),
                    step=Step(step.step),
                    cursor=Cursor(step.cursor),
                    samples=step.samples,
                    owners=tuple(map(Rank, step.owners)),
                    receivers=tuple(map(Rank, step.receivers)),
                    verify=step.verify,
                    inspect=step.inspect,
                ),
                step.learning_rate,
                step.update,
            )
        case "evaluate":
            work = wire.evaluate
            return EvaluateWork(tuple(map(Rank, work.workers)), work.answers, work.max_batches)
        case _:
            return Rest(wire.rest.reason)
