"""A process's own log: lines on stderr, which its parent keeps in `logs/<who>.log` and quotes when the process dies."""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_log(level: str) -> logging.Logger:
    """Log to stderr from `level` ("debug", "info", "warning", "error") on. Libraries speak from "warning" on."""
    logging.basicConfig(stream=sys.stderr, format=FORMAT, level=logging.WARNING, force=True)
    ours = logging.getLogger("mlx-distributed")
    ours.setLevel(level.upper())
    return ours
