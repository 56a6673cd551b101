"""`mlx-serve` for real: it answers over HTTP, and however it ends, its server and its temporary folder end too."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Provenance
from runtime.config.model import ModelSettings, ScratchSettings
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from tests.support.processes import kill_all, marked, wait_until_gone
from tests.support.waiting import until

pytestmark = pytest.mark.slow

GUARD_SECONDS = 120.0
MARK = {"MLXD_TEST_SERVE": str(os.getpid())}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint of a tiny llama that was never trained."""
    from mlx.utils import tree_flatten

    from runtime.models.load import load_model, write_model_folder

    folder = tmp_path_factory.mktemp("run")
    scratch = ScratchSettings(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    loaded = load_model(ModelSettings(scratch=scratch), seed=0, dtype="float32")
    parameters = dict(tree_flatten(loaded.model.parameters()))
    write_model_folder(folder / "model", loaded, parameters)
    provenance = Provenance("tested", "llama", "c0ffee", "adamw", Generation(1), (Rank(0),))
    write_checkpoint(Snapshot(Step(5), Cursor(0), parameters, {}), folder / "checkpoints", provenance)
    return folder


@contextmanager
def serving(run_folder: Path, scratch: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`mlx-serve` on a free port; the block begins when it answers. Nothing of it is left behind it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("mlx-serve")), str(run_folder), "--port", str(port)]
    environment = {**os.environ, **MARK, "TMPDIR": str(scratch)}
    with (scratch / "output").open("wb") as sink:
        server = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, start_new_session=True)
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


def exports(scratch: Path) -> list[Path]:
    return list(scratch.glob("mlx-serve-*"))


def test_a_checkpoint_answers_and_an_interrupt_ends_everything(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path) as (server, address):
        assert len(exports(tmp_path)) == 1
        question = json.dumps({"prompt": "2+2=", "max_tokens": 4, "temperature": 0}).encode()
        request = urllib.request.Request(f"{address}/v1/completions", question, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=GUARD_SECONDS) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] <= 4
        server.send_signal(signal.SIGINT)
        assert server.wait(GUARD_SECONDS) == 130
        assert exports(tmp_path) == []
        wait_until_gone(MARK, within_seconds=GUARD_SECONDS)
        assert "Traceback" not in (tmp_path / "output").read_text()


def test_a_termination_removes_the_export_too(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path) as (server, _):
        server.terminate()
        assert server.wait(GUARD_SECONDS) == 143
        assert exports(tmp_path) == []
        wait_until_gone(MARK, within_seconds=GUARD_SECONDS)


def test_a_killed_mlx_serve_takes_its_server_along(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path) as (server, _):
        server.kill()
        wait_until_gone(MARK, within_seconds=GUARD_SECONDS)
        assert server.wait() == -signal.SIGKILL
