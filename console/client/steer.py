"""Acting on a run from outside: propose, see what would happen, commit. One sentence comes of it, good or bad."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress
from dataclasses import dataclass

from mlxd_wire import control_pb2 as pb

from console.client.wire import connected

PROPOSE_SECONDS = 15.0
COMMIT_SECONDS = 180.0
"""A worker may take its whole time to start, or to stop."""


class Refused(Exception):
    """The run says no; its text is the sentence."""


@dataclass(frozen=True)
class Proposal:
    """What an action would do; good for a minute."""

    ticket: str
    effects: tuple[str, ...]
    confirm: str
    """What a person should type first; empty: a plain yes is enough."""


def me() -> str:
    """`kim@laptop`: who acts, for the journal of the run."""
    user = "somebody"
    with suppress(KeyError, OSError):  # a user id without a name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


async def propose(address: str, kind: str, subject: str = "", *, by: str) -> Proposal:
    """Ask what it would do. Raises Refused, and Unreachable (console.client.wire)."""
    action = pb.Action(kind=kind, subject=subject, by=by)
    async with connected(address) as connection:
        ticket = await connection.ask("/mlxd.Control/Propose", action, pb.Ticket, within_seconds=PROPOSE_SECONDS)
    if ticket.refusal:
        raise Refused(ticket.refusal)
    return Proposal(ticket.id, tuple(ticket.effects), ticket.confirm)


async def commit(address: str, proposal: Proposal) -> str:
    """Have it done; returns what was done. Raises Refused, and Unreachable (console.client.wire)."""
    request = pb.CommitRequest(id=proposal.ticket)
    async with connected(address) as connection:
        reply = await connection.ask("/mlxd.Control/Commit", request, pb.CommitReply, within_seconds=COMMIT_SECONDS)
    if reply.refusal:
        raise Refused(reply.refusal)
    return reply.done
