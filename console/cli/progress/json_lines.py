"""Progress for programs: every fact as it stands in the journal, one JSON object a line."""

from __future__ import annotations

import json
from typing import TextIO

from console.cli.progress.output import Output
from runtime.events import Envelope, RunState, envelope_to_json


class JsonLines:
    """Writes each envelope to `stream`: `{"seq": 7, "t": 1700000000.0, "path": "...", "event": {"type": ...}}`."""

    def __init__(self, stream: TextIO) -> None:
        self._output = Output(stream)

    def update(self, envelope: Envelope, state: RunState) -> None:
        """Write the fact, in ASCII, and flush it."""
        self._output.write(json.dumps(envelope_to_json(envelope), allow_nan=False) + "\n")

    def close(self, state: RunState) -> None:
        """Nothing: each line was whole."""
