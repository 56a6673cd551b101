"""A run that can be served, and `mlx-serve` on it as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Provenance
from runtime.config.model import ModelSettings, ScratchSettings
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from tests.support.processes import kill_all, marked
from tests.support.waiting import until

GUARD_SECONDS = 120.0
MARK = {"MLXD_TEST_SERVE": str(os.getpid())}


def untrained_run(folder: Path) -> Path:
    """A run with one checkpoint of a tiny llama that was never trained."""
    from mlx.utils import tree_flatten

    from runtime.models.load import load_model, write_model_folder

    scratch = ScratchSettings(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    loaded = load_model(ModelSettings(scratch=scratch), seed=0, dtype="float32")
    parameters = dict(tree_flatten(loaded.model.parameters()))
    write_model_folder(folder / "model", loaded, parameters)
    provenance = Provenance("tested", "llama", "c0ffee", "adamw", Generation(1), (Rank(0),))
    write_checkpoint(Snapshot(Step(5), Cursor(0), parameters, {}), folder / "checkpoints", provenance)
    return folder


@contextmanager
def serving(
    run_folder: Path, scratch: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`mlx-serve` on a free port; the block begins when it answers. Nothing of it is left behind it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("mlx-serve")), str(run_folder), "--port", str(port), *options]
    variables = {**os.environ, **MARK, "TMPDIR": str(scratch), **(environment or {})}
    with (scratch / "output").open("wb") as sink:
        server = subprocess.Popen(command, env=variables, stdout=sink, stderr=sink, start_new_session=True)
    try:
        until(
            lambda: is_up(f"http://127.0.0.1:{port}/health") or server.poll() is not None,
            within_seconds=GUARD_SECONDS,
            what=(scratch / "output").read_text,
        )
        assert server.poll() is None, (scratch / "output").read_text()
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        kill_all(marked(MARK))


def is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=GUARD_SECONDS) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
