"""The screens that there are. One that is not built is in no tab, no help and no palette."""

from __future__ import annotations

from typing import NamedTuple


class Tab(NamedTuple):
    """A screen as the tab line, the keys and the app know it."""

    key: str
    name: str
    """Of its mode and of its scope in the keymap."""
    title: str
    place: str
    """`module:class` under console.screens; imported when the screen is first shown."""


TABS: tuple[Tab, ...] = (
    Tab("1", "overview", "Overview", "overview:OverviewScreen"),
    Tab("2", "run", "Run", "run:RunScreen"),
    Tab("3", "config", "Config", "config:ConfigScreen"),
    Tab("4", "checkpoints", "Checkpoints", "checkpoints:CheckpointsScreen"),
    Tab("5", "logs", "Logs", "logs:LogsScreen"),
    Tab("6", "hosts", "Hosts", "hosts:HostsScreen"),
)  # fmt: skip
"""By number: 1 Overview, 2 Run, 3 Config, 4 Checkpoints, 5 Logs, 6 Hosts."""


def tab_of(name: str) -> Tab:
    """The tab of that name. Raises KeyError."""
    return {tab.name: tab for tab in TABS}[name]
