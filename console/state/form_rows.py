"""The form, its verdict, its plan and its differences as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from console.state.figures import shortened, size, some
from console.state.form import Form, Verdict, differences, tables_of
from console.state.form_fields import Field, about_table, field_of
from console.state.spans import EMPTY, Line, Span, Tone, cut, line, width_of

NAME_WIDTH = 19
VERSION = "schema"
"""The file's layout: there is nothing to choose."""
HINT_WIDTH = 44
FIXES = (
    "fix: a smaller train.micro_batch_size or data.max_length, train.grad_checkpoint, fewer parallel.workers, "
    'or model.adapter.type = "lora"'
)
AGAINST = ("file", "defaults", "run")
"""What the differences are told against."""


def form_rows(form: Form, pattern: str, width: int, *, only_set: bool = False) -> list[tuple[Line, str]]:
    """Every key by its table, with the dotted key as the row's name; broken ones are never left out."""
    verdict, changed = form.verdict, dict(form.edits)
    rows: list[tuple[Line, str]] = []
    for table, names in tables_of(list(verdict.values)):
        shown = [name for name in names if _is_shown(name, verdict, pattern, only_set)]
        if not shown:
            continue
        if not table and names == [VERSION] and VERSION not in verdict.wrong:
            continue
        if table:
            rows.append((cut(line((f"[{table}]", "strong"), (f"  {about_table(table)}", "dim")), width), ""))
        rows += [(_row(name, verdict, width, is_changed=name in changed), name) for name in shown]
    return rows or [(line(("no key has that in its name", "dim")), "")]


def _is_shown(name: str, verdict: Verdict, pattern: str, only_set: bool) -> bool:
    if name in verdict.wrong:
        return True
    if only_set and verdict.origins.get(name, "default") == "default":
        return False
    wanted = pattern.removeprefix("!").lower()
    return not wanted or (wanted in name.lower()) != pattern.startswith("!")


def _row(name: str, verdict: Verdict, width: int, *, is_changed: bool) -> Line:
    wrong = verdict.wrong.get(name, "")
    sign: tuple[str, Tone] = ("✗ ", "bad") if wrong else (("* ", "warn") if is_changed else ("  ", "plain"))
    value = verdict.values[name]
    is_default = verdict.origins.get(name, "default") == "default"
    tone: Tone = "bad" if wrong else ("dim" if is_default else "plain")
    key = name.rpartition(".")[2]
    parts = line(sign, (f"{key:<{NAME_WIDTH}} ", tone), (shortened(value, max(8, width - NAME_WIDTH - 4)), tone))
    return cut((*parts, *line((f"  {wrong}", "bad"))), width) if wrong else cut(parts, width)


def about_field(name: str, verdict: Verdict, width: int) -> list[Line]:
    """The chosen key: what it is for, what it may hold, where its value comes from, what is wrong."""
    if name not in verdict.values:
        return [line(("arrows choose a key, Enter changes it", "dim"))]
    field = field_of(name)
    origin = verdict.origins.get(name, "default")
    default = "" if origin == "default" else f"   {default_of(name)}"
    lines = [
        cut(line((name, "strong"), (f"   {origin}{default}", "dim")), width),
        *(line(part) for part in _wrapped(field.help, width, 2)),
        *(line((part, "dim")) for part in _wrapped(f"must be {field.expected}", width, 1)),
    ]
    if wrong := verdict.wrong.get(name):
        lines[1:1] = [line(("✗ ", "bad"), (part, "bad")) for part in _wrapped(wrong, width - 2, 2)]
    return lines


def default_of(name: str) -> str:
    """`default 0.0001`; nothing for a key that has none."""
    from console.state.form import values_of
    from runtime.config.schema import Config

    known = values_of(Config())
    return f"default {known[name]}" if name in known else ""


class Planned(NamedTuple):
    """What is known of the plan: the answer of `plan --json`, or why there is none."""

    answer: Mapping[str, Any] | None = None
    refusal: str = ""
    is_running: bool = False
    seconds: float = 0.0
    memory_bytes: int = 0
    """Of this machine."""
    file_problems: tuple[str, ...] = ()


def verdict_lines(verdict: Verdict, planned: Planned, width: int) -> list[Line]:
    """What is wrong, worst first, then what the run needs."""
    wrong = [said if said.startswith(name) else f"{name}: {said}" for name, said in verdict.wrong.items()]
    wrong += verdict.loose
    wrong += planned.file_problems
    lines: list[Line] = []
    if wrong:
        lines.append(line((f"✗ {len(wrong)} {'problem' if len(wrong) == 1 else 'problems'}", "bad")))
        for each in wrong:
            lines += _hanging(each, width, "bad")
    else:
        lines.append(line(("✓ ", "good"), "nothing wrong in it"))
    if planned.is_running:
        lines.append(line(("plan: being made ...", "dim")))
    elif planned.refusal:
        lines += _hanging(f"no plan: {planned.refusal}", width, "warn")
    elif planned.answer is not None and not verdict.problems:
        lines += plan_lines(planned, width)
    return lines


def plan_lines(planned: Planned, width: int) -> list[Line]:
    """`plan --json` for the eye: the model, a step, and the memory of each device."""
    plan = planned.answer or {}
    trained = "" if plan["trained"] == plan["parameters"] else f", {plan['trained']:,} of them trained"
    lines = [
        EMPTY,
        *_hanging(f"{plan['architecture']}: {plan['parameters']:,} parameters{trained}", width, "plain"),
        *_hanging(
            f"{some(plan['workers'], 'worker')}; a step is {plan['micro_batches']} x {plan['rows']} rows of up to "
            f"{plan['positions']} tokens each",
            width,
            "plain",
        ),
        *_fit(planned),
        EMPTY,
        line((f"{'memory of a device':<18}", "dim"), *(f"{_stage(device, plan):>10}" for device in plan["devices"])),
    ]
    for title, key in (
        ("parameters", "parameters_bytes"),
        ("gradients", "gradients_bytes"),
        ("optimizer", "optimizer_bytes"),
        ("exchange", "exchange_bytes"),
    ):
        lines.append(_sizes(title, [device["held"][key] for device in plan["devices"]], "dim"))
    lines.append(_sizes("~ activations", [device["activations_bytes"] for device in plan["devices"]], "dim"))
    lines.append(_sizes("peak", [device["peak_bytes"] for device in plan["devices"]], "strong"))
    lines.append(line((f"(~ is modelled; planned in {planned.seconds:.1f} s)", "dim")))
    return [cut(each, width) for each in lines]


def _fit(planned: Planned) -> list[Line]:
    """Whether this machine has the memory, and what to do where it has not."""
    plan = planned.answer or {}
    if not planned.memory_bytes:
        return []
    need = needed_bytes(plan)
    fits = need <= planned.memory_bytes
    sign = line(("✓ fits: ", "good")) if fits else line(("✗ too much: ", "bad"))
    said = (*sign, *line(f"{size(need)} of {size(planned.memory_bytes)} here"))
    return [said] if fits else [said, *_hanging(FIXES, HINT_WIDTH, "warn")]


def needed_bytes(plan: Mapping[str, Any]) -> int:
    """Memory of all workers together, where they share this machine's."""
    return sum(
        (device["peak_bytes"] + device["held"].get("host_bytes", 0)) * plan["replicas"] for device in plan["devices"]
    )


def _stage(device: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    return f"stage {device['stage']}" if len(plan["devices"]) > 1 else ""


def _sizes(title: str, sizes: Iterable[int], tone: Tone) -> Line:
    return line((f"  {title:<16}", tone), *((f"{size(each):>10}", tone) for each in sizes))


def difference_lines(values: Mapping[str, str], others: Mapping[str, str], width: int) -> list[Line]:
    """`* key  old → new` for what differs; of a long key its end, because the values must be seen."""
    lines = [_difference(*each, width) for each in differences(values, others)]
    return lines or [line(("no difference", "dim"))]


def _difference(name: str, old: str | None, new: str | None, width: int) -> Line:
    sign: tuple[str, Tone] = ("+ ", "good") if old is None else (("- ", "bad") if new is None else ("* ", "warn"))
    room = max(8, width // 4)
    before = line((shortened(old, room), "dim")) if old is not None else EMPTY
    arrow = line((" → ", "dim")) if old is not None and new is not None else EMPTY
    values = (*before, *arrow, *line(shortened(new, room) if new is not None else ""))
    left = max(6, width - 4 - width_of(values))
    return cut((*line(sign, name if len(name) <= left else "…" + name[1 - left :], "  "), *values), width)


def choices_of(field: Field) -> list[tuple[str, str]]:
    """What a list of choices shows: each in TOML's spelling."""
    return [(choice, choice.strip('"')) for choice in field.choices]


def _hanging(text: str, width: int, tone: Tone) -> list[Line]:
    return [
        (Span("  "), *line((part, tone))) if number else line((part, tone))
        for number, part in enumerate(_wrapped(text, width - 2, 4))
    ]


def _wrapped(text: str, width: int, most: int) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(text.split()), max(10, width), max_lines=most, placeholder=" ...")
