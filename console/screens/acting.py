"""From an intent to an act: proposed, shown with its effects, committed when a person says yes, told how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.client.steer import Refused, commit, me, propose
from console.client.wire import Unreachable
from console.dialogs.confirm import ConfirmDialog
from console.messages.intents import HARMLESS, Act, Say

if TYPE_CHECKING:
    from textual.app import App

    from console.client.targets import Target

READ_ONLY = "read-only: this console may only look; start it with --operate, or as the one who started the run"
_WORDS = {
    "pause": "pause the run", "resume": "resume the run", "checkpoint": "checkpoint now", "stop": "stop the run",
    "add_worker": "add a worker", "remove_worker": "remove worker", "restart": "restart", "kill": "kill",
    "acknowledge": "acknowledge",
}  # fmt: skip


async def carried_out(intent: Act, target: Target, app: App[None]) -> Say:
    """What became of it. Asks first, unless the action harms nobody; runs in a worker of the app."""
    if not target.may_act:
        return Say(READ_ONLY, is_bad=True)
    try:
        address = await target.control()
        proposal = await propose(address, intent.kind, intent.subject, by=me())
        if intent.kind not in HARMLESS:
            title = f"{_WORDS.get(intent.kind, intent.kind)} {intent.subject}".strip()
            dialog = ConfirmDialog(title, proposal.effects, proposal.confirm, target.name)
            if not await app.push_screen_wait(dialog):
                return Say("nothing was done")
        return Say(await commit(address, proposal))
    except (Refused, Unreachable) as failed:
        return Say(str(failed), is_bad=True)
