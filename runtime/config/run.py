"""[run]: the name of the run, where it writes, and what makes it repeatable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtime.config.table import Filled, Table
from runtime.ids import is_run_name


def _run_name(text: str) -> str:
    if text and not is_run_name(text):
        raise ValueError(f'must be a folder\'s name of letters, digits, dots, dashes and underscores, not "{text}"')
    return text


class RunSettings(Table):
    """The run: its name, its folder, its seed."""

    name: Annotated[str, AfterValidator(_run_name)] = ""
    """"" -> the configuration file's name without .toml"""
    output_dir: Filled = "runs"
    """folder of all runs; this one writes into output_dir/name"""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """of the initial weights, the order of the data and every dropout"""
    resume: Filled = "auto"
    """"auto" (go on after an interruption) | "never" | a checkpoint's path (--resume overrides)"""
    deterministic: bool = False
    """fixed summation tree over logical shards: same bits on 1, 2, 4, 8 workers"""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """"debug" | "info" | "warning" | "error" """
