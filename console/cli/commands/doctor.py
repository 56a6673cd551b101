"""`mlx-distributed doctor`: what this machine has for training, measured where a name is not enough."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

HELP = "look at this machine: Python, MLX, BLAS and its speed, memory; or at the way to another one"

PACKAGES = ("mlx-distributed", "mlx", "mlx-lm", "transformers", "numpy", "grpcio", "protobuf", "trio", "textual")
ENOUGH_GFLOPS = 20.0
"""Reference BLAS gives 3 to 5, OpenBLAS on one old core more than this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which machine, and the form of the answer."""
    parser.add_argument(
        "--host", metavar="TARGET", help="instead: the way to a run on another machine, ssh://[user@]host"
    )
    parser.add_argument("--remote-command", default="", metavar="PATH", help="what is mlx-distributed over there")
    parser.add_argument("--operate", action="store_true", help="ask for the right to change that run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print the facts; 0, or 1 when MLX cannot compute here."""
    import json

    if args.host:
        from console.cli.way import shown_way

        return shown_way(args.host, args.remote_command, operate=args.operate, as_json=args.json)
    facts = survey()
    print(json.dumps(facts, indent=2) if args.json else "\n".join(lines(facts)))
    return 0 if facts["gflops"] is not None else 1


def survey() -> dict[str, Any]:
    """Everything that the command prints, by name; takes about a second. Loads the BLAS and mlx into this process."""
    import platform
    import shutil
    from dataclasses import asdict

    from runtime.models.blas import load_blas
    from runtime.models.device import compile_supported, find_devices

    blas = load_blas()
    gflops, failure = _measured()
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "devices": [asdict(device) for device in find_devices()],
        "compiler": shutil.which("g++") or "",
        "compile_supported": compile_supported(),
        "blas": asdict(blas),
        "gflops": gflops,
    }
    return {**facts, "advice": advice(facts, failure)}


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of those that are installed, by name."""
    return {name: version for name in packages if (version := _version(name))}


def cores() -> int | None:
    """That this process may use; all of the machine where the system does not say which."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory_bytes() -> int:
    """Of this machine."""
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for a person, one per line, advice last."""
    blas, threads = facts["blas"], facts["blas"]["threads"]
    with_threads = f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""
    speed = "not measured" if facts["gflops"] is None else f"{facts['gflops']:.0f} GFLOP/s in float32"
    rows = [
        ("python", f"{facts['python']} on {facts['platform']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
        ("cores", str(facts["cores"])),
        ("memory", f"{facts['memory_bytes'] / 2**30:.1f} GiB"),
        *(("device", f"{device['kind']} {device['index']}: {device['name']}") for device in facts["devices"]),
        ("blas", f"{blas['name']}{with_threads}: {speed}"),
        ("compiler", facts["compiler"] or "no g++"),
        ("mx.compile", "works" if facts["compile_supported"] else "off"),
    ]
    return [*(f"{name:<11}{value}" for name, value in rows), *(f"advice     {one}" for one in facts["advice"])]


def advice(facts: dict[str, Any], failure: str) -> list[str]:
    """What is wrong on this machine and what to do about it; empty when nothing is."""
    found = [f"mlx cannot compute here: {failure}"] if failure else []
    if facts["blas"]["note"]:
        found.append(f"training will be slow: {facts['blas']['note']}")
    elif facts["gflops"] is not None and facts["gflops"] < ENOUGH_GFLOPS:
        found.append(f"{facts['gflops']:.0f} GFLOP/s is little: is the machine busy with something else?")
    if not facts["compile_supported"]:
        found.append("mx.compile needs g++ on a CPU: install it, or train without (train.compile = false)")
    return found


def _measured() -> tuple[float | None, str]:
    """(GFLOP/s, "") or (None, what mlx said)."""
    from runtime.models.blas import measure_gflops

    try:
        return round(measure_gflops(), 1), ""
    except (ImportError, OSError, RuntimeError) as error:
        return None, str(error)


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
