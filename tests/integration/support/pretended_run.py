"""Stands in for `mlx-distributed run`: writes a journal, starts one child; the child of an `orphaning` run lives on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from runtime.events import ActorExited, ActorReady, Event, RunFinished, RunStarted, envelope_to_json
from runtime.events.types import Envelope
from runtime.ids import ActorPath, Incarnation, Step

UNTIL_STDIN_ENDS = "import sys; sys.stdin.read()"
UNTIL_KILLED = "import signal; signal.pause()"


def main() -> None:
    """Start a child, tell of it, and wait until it is gone."""
    behaviour, options = sys.argv[1], dict(pair.split("=", 1) for pair in sys.argv if "=" in pair)
    folder = Path(options["run.output_dir"]) / options["run.name"]
    folder.mkdir(parents=True)
    path = ActorPath("run/worker-0")
    with (folder / "events.jsonl").open("w") as journal:

        def tell(seq: int, event: Event) -> None:
            journal.write(json.dumps(envelope_to_json(Envelope(seq, 0.0, path, event))) + "\n")
            journal.flush()

        print("something to read", flush=True)
        tell(1, RunStarted("tested", 1, Step(1), Step(9), 4, "hash"))
        code = UNTIL_KILLED if behaviour == "orphaning" else UNTIL_STDIN_ENDS
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)
        tell(2, ActorReady(path, Incarnation(1), pid=child.pid))
        status = child.wait()
        tell(3, ActorExited(path, Incarnation(1), "killed", code=status))
        tell(4, RunFinished("done", Step(9), 1.0))


if __name__ == "__main__":
    main()
    sys.exit(os.EX_OK)
