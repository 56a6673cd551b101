"""The looks: what each tone is in a dark terminal, in a light one, and in the terminal's own sixteen colours."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

DARK = Theme(
    name="dark",
    dark=True,
    primary="#7aa2d6",
    secondary="#5f87af",
    accent="#8fb8e8",
    foreground="#c9cdd4",
    background="#14171c",
    surface="#14171c",
    panel="#1b1f26",
    success="#8cc084",
    warning="#e0b060",
    error="#e57f7a",
    variables={
        "tone-dim": "#767d89", "tone-strong": "#f0f2f5", "tone-good": "#8cc084", "tone-warn": "#e0b060",
        "tone-bad": "#e57f7a", "tone-accent": "#8fb8e8", "tone-key": "#8fb8e8", "tone-curve": "#6fb3b8",
        "line": "#333a45", "line-focus": "#7aa2d6", "cursor": "#27303d", "cursor-blurred": "#1e242d",
        "bar": "#1b1f26", "footer": "#1b1f26",
    },
)  # fmt: skip
LIGHT = Theme(
    name="light",
    dark=False,
    primary="#2b62a0",
    secondary="#4c78a8",
    accent="#2b62a0",
    foreground="#2d333b",
    background="#fbfbf9",
    surface="#fbfbf9",
    panel="#efefeb",
    success="#2f7d32",
    warning="#8f5a00",
    error="#b3322c",
    variables={
        "tone-dim": "#6e7681", "tone-strong": "#0b0e13", "tone-good": "#2f7d32", "tone-warn": "#8f5a00",
        "tone-bad": "#b3322c", "tone-accent": "#2b62a0", "tone-key": "#2b62a0", "tone-curve": "#1b7a80",
        "line": "#cfd2d6", "line-focus": "#2b62a0", "cursor": "#dde7f3", "cursor-blurred": "#ecefF2",
        "bar": "#efefeb", "footer": "#efefeb",
    },
)  # fmt: skip
ANSI = Theme(
    name="ansi",
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_cyan",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        **BUILTIN_THEMES["ansi-dark"].variables,
        "tone-dim": "ansi_default", "tone-strong": "ansi_default", "tone-good": "ansi_green",
        "tone-warn": "ansi_yellow", "tone-bad": "ansi_red", "tone-accent": "ansi_cyan", "tone-key": "ansi_cyan",
        "tone-curve": "ansi_cyan", "line": "ansi_default", "line-focus": "ansi_cyan", "cursor": "ansi_default",
        "cursor-blurred": "ansi_default", "bar": "ansi_default", "footer": "ansi_default",
    },
)  # fmt: skip
LOOKS = (DARK, LIGHT, ANSI)
