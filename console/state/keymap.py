"""The one table of keys: bindings, footer, `?` help, the palette and the README's list all come from here. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from console.state.keys import checkpoints, config, everywhere, hosts, logs, overview, run
from console.state.keys.row import Key
from console.state.tabs import TABS, Tab

EVERYWHERE = "everywhere"
OF_SCREENS: Mapping[str, tuple[Key, ...]] = {
    "overview": overview.KEYS,
    "run": run.KEYS,
    "config": config.KEYS,
    "checkpoints": checkpoints.KEYS,
    "logs": logs.KEYS,
    "hosts": hosts.KEYS,
}
"""Name of a tab -> what is special to it."""
HELP = Key("question_mark,f1", "help", "Help", "what the keys of this screen do")
FOOTER_KEYS = 6
READ_ONLY = "read-only: {label} is off; start the console with --operate, or as the one who started the run"


def keys_of(scope: str) -> tuple[Key, ...]:
    """Every key that works on a screen: its own first, then those of every screen, help last."""
    own = OF_SCREENS.get(scope, ())
    taken = {key for row in own for key in row.keys.split(",")}
    rest = tuple(row for row in everywhere.KEYS if not taken & set(row.keys.split(",")))
    return (*own, *rest, HELP)


def of_tab(tab: Tab) -> Key:
    """The key that goes to a screen."""
    return Key(tab.key, f"show_{tab.name}", tab.title, f"go to {tab.title}")


def table() -> Iterator[tuple[str, Key]]:
    """Every row there is, with its scope."""
    for tab in TABS:
        yield EVERYWHERE, of_tab(tab)
    for key in (*everywhere.KEYS, HELP):
        yield EVERYWHERE, key
    for scope, keys in OF_SCREENS.items():
        for key in keys:
            yield scope, key


def footer_of(scope: str, *, may_act: bool) -> tuple[Key, ...]:
    """At most six keys by their priority, then help; keys that act only where one may."""
    wanted = [key for key in keys_of(scope) if key.priority and (may_act or not key.acts)]
    return (*sorted(wanted, key=lambda key: key.priority)[: FOOTER_KEYS - 1], HELP)


def refusal_of(key: Key) -> str:
    """Why a key that acts does nothing here, and the next move."""
    return READ_ONLY.format(label=key.label.lower())


def as_table() -> str:
    """The keys as a Markdown table, for the README."""
    rows = [f"| {scope} | `{key.all_shown}` | {key.help}{' *' if key.acts else ''} |" for scope, key in table()]
    return "\n".join(["| where | keys | what |", "|---|---|---|", *rows])
