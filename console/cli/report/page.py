"""The report of a run as one HTML file: no script, no font, no picture from anywhere else. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from console.cli.report import svg
from console.cli.report.series import charts_of, marks_of
from console.state.figures import count, duration, harmless, some
from runtime.events import RunState
from runtime.events.pace import efficiency, tokens_per_second

_SMALL = 210
_MOST_SAMPLES, _MOST_EVENTS, _SHORT_CELL = 12, 40, 9
_WORDS = {"done": "done", "stopped": "stopped by request", "failed": "failed", "gave_up": "gave up"}
_PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:0;background:#f5f6f8;color:#1b1f26}
body{font:15px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;margin:0}h2{font-size:15px;margin:36px 0 10px}p.sub{margin:2px 0 22px;color:#69707c}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:0 0 16px}
.tile{background:#fff;border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:17px;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.tile span{color:#69707c;font-size:12px}
.charts{display:grid;grid-template-columns:1fr 1fr;gap:12px}
.charts svg{width:100%;height:auto;border-radius:8px;display:block}.charts svg:first-child{grid-column:1/-1}
table{border-collapse:collapse;width:100%;background:#fff;border-radius:8px;font-size:13px}
th,td{text-align:left;padding:6px 14px;border-bottom:1px solid #eceef1;vertical-align:top;overflow-wrap:anywhere}
th{color:#69707c;font-weight:500;overflow-wrap:normal}td{font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
.right{color:#0b8043}.wrong{color:#c62828}
pre{background:#fff;border-radius:8px;padding:14px;overflow:auto;font-size:12px}
summary{cursor:pointer;font-weight:600;font-size:15px;margin:36px 0 10px}
@media(max-width:800px){.charts{grid-template-columns:1fr}}
@media(prefers-color-scheme:dark){
body{background:#14171c;color:#e7e9ec}.tile,table,pre{background:#1d2128}
.ground{fill:#1d2128}.grid{stroke:#2b3038}.axis{stroke:#454c57}.title{fill:#e7e9ec}text{fill:#9aa2ae}
.raw{stroke:#3b4f7d}.smooth{stroke:#7ea2f5}th,td{border-color:#2b3038}p.sub,.tile span,th{color:#9aa2ae}
.trouble{stroke:#ff7b72}.troubled{fill:#ff7b72}.wrong{color:#ff7b72}.right{color:#56d089}}
"""


def page_of(state: RunState, config: str, origin: str) -> str:
    """The whole page. `config` is the resolved configuration as TOML, `origin` where the journal lies."""
    name = state.plan.name if state.plan else "run"
    charts = charts_of(state)
    drawn = [svg.draw(chart, height=_SMALL, width=584) for chart in charts[1:]]
    drawn[:0] = [svg.draw(chart, height=330, width=1180) for chart in charts[:1]]
    parts = [
        f"<h1>{escape(name)}</h1><p class=sub>{escape(headline(state))}</p>",
        f"<div class=tiles>{''.join(_tile(*tile) for tile in tiles(state))}</div>",
        f"<div class=charts>{''.join(drawn)}</div>" if drawn else "<p>No step was committed yet.</p>",
        _section("Held-out evaluations", _evaluations(state)),
        _section("Answers before and after", _samples(state)),
        _section("What happened", _events(state)),
        f"<details><summary>Configuration</summary><pre>{html.escape(config)}</pre></details>" if config else "",
        f"<p class=sub>from {escape(origin)}</p>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{svg.STYLE}{_PAGE_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def headline(state: RunState) -> str:
    """`llama, 1.1M parameters; done at step 400 of 400 after 3m20s; 2 workers`."""
    plan, outcome = state.plan, state.outcome
    if plan is None:
        return "the journal names no run"
    model = f"{plan.model or 'model'}, {count(plan.parameters)} parameters"
    word = _WORDS[outcome.outcome] if outcome else "without an end in the journal"
    seconds = outcome.seconds if outcome else state.wall_seconds - state.started_seconds
    where = f"{word} at step {state.training.step} of {plan.last_step} after {duration(seconds)}"
    return f"{model}; {where}; {some(plan.workers, 'worker')}"


def tiles(state: RunState) -> list[tuple[str, str]]:
    """(figure, what it is): the few that matter."""
    training, found = state.training, list[tuple[str, str]]()
    if training.first and training.last:
        found.append((f"{training.first.loss:.3f} → {training.last.loss:.3f}", "training loss, first and last step"))
    for split, first in training.first_evaluations.items():
        last = [one for one in training.evaluations if one.split == split][-1:]
        if last:
            found.append((f"{first.loss:.3f} → {last[0].loss:.3f}", f"{split} loss"))
            found.append((f"{first.token_accuracy:.0%} → {last[0].token_accuracy:.0%}", f"{split} tokens right"))
    found.append((count(training.tokens), "trained tokens"))
    found.append((count(tokens_per_second(state)), "trained tokens per second at the end"))
    useful = efficiency(state)
    if useful is not None:
        found.append((f"{useful:.0%}", "of the computed positions were of use"))
    found.append((str(state.workers_lost), f"workers lost, {some(state.restarts, 'restart')}"))
    return found


def _tile(figure: str, meaning: str) -> str:
    return f"<div class=tile><b>{escape(figure)}</b><span>{escape(meaning)}</span></div>"


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}" if body else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already; short ones are kept in one line."""
    cells = [[f"<td{' class=n' * (len(cell) <= _SHORT_CELL)}>{cell}</td>" for cell in row] for row in rows]
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{lines}</table>" if rows else ""


def _evaluations(state: RunState) -> str:
    evaluations = list(state.training.evaluations)
    names = list(dict.fromkeys(name for one in evaluations for name, _ in one.metrics))
    rows = []
    for one in evaluations:
        values = dict(one.metrics)
        scores = [f"{values[name]:.4g}" if name in values else "" for name in names]
        rows.append([str(one.step), f"{one.loss:.4f}", f"{one.token_accuracy:.1%}", *scores])
    return _table(["step", "loss", "tokens right", *(name.replace("_", " ") for name in names)], rows)


def _samples(state: RunState) -> str:
    before = {sample.prompt: sample.answer for sample in state.training.samples_before}
    rows = []
    for sample in (state.training.samples_after or state.training.samples_before)[:_MOST_SAMPLES]:
        kind = "right" if sample.answer.strip() == sample.expected.strip() else "wrong"
        after = f"<span class={kind}>{escape(sample.answer)}</span>"
        rows.append([escape(sample.prompt), escape(sample.expected), escape(before.get(sample.prompt, "")), after])
    return _table(["prompt", "expected", "at the beginning", "at the end"], rows)


def _events(state: RunState) -> str:
    rows = [[str(mark.step), escape(mark.kind), escape(mark.text)] for mark in marks_of(state)]
    left_out = len(rows) - _MOST_EVENTS
    more = f"<p class=sub>and {left_out} earlier ones</p>" if left_out > 0 else ""
    return _table(["step", "", ""], rows[-_MOST_EVENTS:]) + more


def escape(text: str) -> str:
    """The text as HTML that shows it and nothing else."""
    return html.escape(harmless(text))
