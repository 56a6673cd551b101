"""What `data preview --json` tells, as lines: samples with the learnt part marked, and what is left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from console.state.figures import columns, some
from console.state.spans import EMPTY, Line, Span, Tone, line

LEARNT, LEARNT_END = "⟦", "⟧"
"""Around what is learnt: a colour alone says nothing to some."""


def sample_lines(document: Mapping[str, Any], width: int) -> list[Line]:
    """The account first, then each sample."""
    lines = [*_report(document["report"])]
    for bad in document["quarantined"][:5]:
        lines.append(line(("✗ ", "warn"), (f"{PurePath(bad['file']).name}:{bad['line']} {bad['reason']}", "warn")))
    for sample in document["samples"]:
        name = f"{PurePath(sample['file']).name}:{sample['line']}"
        stop = "" if sample["stop_learnt"] else ", no stop token learnt"
        told = f"  {some(sample['tokens'], 'token')}, {sample['learnt']} learnt{stop}"
        lines += [EMPTY, line((name, "strong"), (told, "dim"))]
        lines += _pieces(sample["pieces"], width)
    return lines


def _report(report: Mapping[str, Any]) -> list[Line]:
    if report.get("streamed"):
        return [line("read while training: ", (", ".join(report["files"]), "dim"))]
    lost = [
        some(report["quarantined"], "quarantined", "quarantined"),
        f"{report['dropped']} dropped as too long",
        f"{report['truncated']} truncated",
    ]
    return [
        line(
            (f"{report['train_samples']:,} samples", "strong"),
            f" to train on, {report['held_out_samples']:,} held out",
        ),
        line((", ".join(lost), "dim")),
        line(
            f"{report['train_tokens']:,} tokens, {report['trained_tokens']:,} of them learnt ",
            (f"(mask by {report['mask_method']}; longest sample {report['longest']})", "dim"),
        ),
    ]


def _pieces(pieces: list[Mapping[str, Any]], width: int) -> list[Line]:
    """Texts broken at their own newlines and at the width; what is learnt is marked on every line."""
    lines: list[list[Span]] = [[]]
    used = 0
    for piece in pieces:
        learnt = bool(piece["learnt"])
        tone: Tone = "good" if learnt else "dim"
        text = f"{LEARNT}{piece['text']}{LEARNT_END}" if learnt else str(piece["text"])
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append([])
                used = 0
            for letter in part:
                wide = columns(letter)
                if used + wide > width:
                    lines.append([])
                    used = 0
                if lines[-1] and lines[-1][-1].tone == tone:
                    lines[-1][-1] = Span(lines[-1][-1].text + letter, tone)
                else:
                    lines[-1].append(Span(letter, tone))
                used += wide
    return [line(Span("  "), *spans) for spans in lines]
