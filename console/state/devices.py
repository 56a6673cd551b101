"""Workers with their devices, the machines they run on, and where a step's time goes. Pure."""

from __future__ import annotations

from dataclasses import replace

from console.state.figures import count, duration, size
from console.state.spans import EMPTY, Column, Line, Span, Tone, between, cut, joined, line, table, width_of
from runtime.view.cards import DeviceCard, HostCard, RunCard, RunView, WorkerCard

_PHASES: dict[str, Tone] = {"training": "good", "joined": "accent", "hung": "bad", "lost": "bad", "leaving": "warn"}
_HEADS = (
    Column("worker"),
    Column("", weight=3),
    Column("host", most=14, weight=4),
    Column("device", most=10, weight=2),
    Column("cpu", is_right=True, weight=5),
    Column("memory", is_right=True),
    Column("peak", is_right=True, weight=5),
    Column("plan", is_right=True, weight=6),
    Column("pos/s", is_right=True, weight=8),
    Column("shards", is_right=True, weight=7),
)
_NONE = line(("-", "dim"))
_LOW_DISK_BYTES = 2 << 30
_ABOVE_PLAN = 1.1
"""As the alarm for it has it."""


def device_rows(view: RunView, width: int) -> list[tuple[Line, str]]:
    """The title and a row a worker; columns that say nothing in this run stay away.

    `memory` is its process's now; `peak` the most that MLX held there, beside what was planned for that.
    """
    ranks = sorted({*view.workers, *view.devices}, key=int)
    if not ranks:
        return [(line(("no worker yet", "dim")), "")]
    rows = [
        _cells(view.workers.get(rank), view.devices.get(rank), rank, is_over=bool(view.run.outcome)) for rank in ranks
    ]
    used = [place for place in range(len(_HEADS)) if place < 2 or any(row[place] != _NONE for row in rows)]
    lines = table([_HEADS[place] for place in used], [[row[place] for place in used] for row in rows], width)
    return [(lines[0], ""), *((told, f"run/node/worker-{rank}") for told, rank in zip(lines[1:], ranks, strict=True))]


def host_lines(view: RunView, width: int = 80) -> list[Line]:
    """A line a machine: its load, the room on the run's disk and, where there is room for it, its cores."""
    lines = []
    for host in view.hosts.values():
        whole = _host(host)
        lines.append(whole if width_of(whole) <= width else _host(replace(host, cores=0), load_of=host.cores))
    return lines


def split_lines(run: RunCard, width: int) -> list[Line]:
    """A bar of where a step's time goes (compute, exchange, feed, the rest), and what its parts are."""
    total = run.step_seconds
    if not total:
        return []
    shares: list[tuple[str, float, Tone]] = [
        ("compute", run.compute_seconds or 0.0, "good"),
        ("exchange", run.exchange_seconds or 0.0, "accent"),
        ("feed", run.feed_seconds or 0.0, "warn"),
    ]
    rest = max(0.0, total - sum(seconds for _, seconds, _ in shares))
    parts = [*shares, ("rest", rest, "dim")]
    whole = sum(seconds for _, seconds, _ in parts)
    told = [(name, seconds / whole, tone) for name, seconds, tone in parts if seconds >= whole / 100]
    label = f"{'step':<9}"
    room = width - len(label) - 9
    bar = [Span("━" * round(share * room), tone) for _, share, tone in told]
    legend = [line(("━ ", tone), (f"{name} {share:.0%}", "dim")) for name, share, tone in told]
    first = between(line((label, "dim"), *bar), line((f"{duration(total):>9}", "strong")), width)
    return [first, cut((Span(" " * len(label)), *joined(legend, Span("  "))), width)]


def _cells(worker: WorkerCard | None, device: DeviceCard | None, rank: str, *, is_over: bool) -> list[Line]:
    phase = ("ended" if is_over else worker.phase) if worker else ""
    held = device.process_bytes if device else None
    peak, planned = (device.peak_bytes, device.planned_bytes) if device else (0, 0)
    over = bool(planned) and peak > _ABOVE_PLAN * planned
    cores = device.process_cpu if device else None
    return [
        line((f"{rank}", "strong")),
        line((phase, _PHASES.get(phase, "dim"))),
        _text(worker.host if worker else ""),
        _text(worker.device if worker else ""),
        line(f"{cores:.0%}") if cores is not None else _NONE,
        line(size(held)) if held else _NONE,
        line((size(peak), "warn" if over else "plain")) if peak else _NONE,
        line((size(planned), "dim")) if planned else _NONE,
        _text(count(worker.positions_per_second) if worker and worker.positions_per_second else ""),
        _text(str(worker.shards) if worker and worker.shards is not None else ""),
    ]


def _text(text: str) -> Line:
    return line(text) if text else _NONE


def _host(host: HostCard, load_of: int = 0) -> Line:
    """`load_of`: how many cores share the load, where they are not told."""
    cores = host.cores or load_of
    load: Tone = "warn" if host.load is not None and cores and host.load > 2 * cores else "plain"
    free = host.disk_free_bytes
    return joined(
        [
            line((host.name, "strong")),
            line(f"{host.cores} cores") if host.cores else EMPTY,
            line(("load ", "dim"), (f"{host.load:.1f}", load)) if host.load is not None else EMPTY,
            line(("disk ", "dim"), (f"{size(free)} free", "bad" if free < _LOW_DISK_BYTES else "plain"))
            if free is not None
            else EMPTY,
        ],
        Span("  "),
    )
