"""`mlx-serve` for real: it answers over HTTP, and however it ends, its server and its temporary folder end too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.processes import wait_until_gone
from tests.support.served import GUARD_SECONDS, MARK, serving, untrained_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("run"))


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


def test_a_killed_mlx_serve_takes_its_server_along(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path) as (server, _):
        server.kill()
        wait_until_gone(MARK, within_seconds=GUARD_SECONDS)
        assert server.wait() == -signal.SIGKILL


def test_a_model_that_does_not_open_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    command = [str(Path(sys.executable).with_name("mlx-serve")), str(tmp_path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD_SECONDS, check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: the model cannot be opened: No safetensors found")
    assert second == "error: the server ended with 1; its last lines above say why"
