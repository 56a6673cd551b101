"""The death of a parent, however it dies, takes its child and all that the child started, whatever they are doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import launch
from runtime.tether import Watch
from tests.support.process_actors import GUARD_SECONDS, ROOT
from tests.support.processes import is_alive
from tests.support.waiting import until

pytestmark = pytest.mark.slow

WATCHES: tuple[Watch, ...] = ("kernel", "keeper") if sys.platform == "linux" else ("keeper",)


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("mode", ["grandchild", "hold_gil"])
def test_a_killed_parent_leaves_nobody(mode: str, watch: Watch, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.support.actor_parent", mode, watch, str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(is_alive(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        began = time.perf_counter()
        until(
            lambda: not any(is_alive(pid) for pid in pids),
            within_seconds=GUARD_SECONDS,
            what=lambda: f"{[pid for pid in pids if is_alive(pid)]} of child and grandchild {pids} still live",
        )
        print(f"{mode}, {watch}: gone {time.perf_counter() - began:.3f} s after the parent's SIGKILL (ps included)")


def test_a_tether_that_is_cut_before_it_is_armed_is_noticed(tmp_path: Path) -> None:
    program = "import signal; from runtime import tether; tether.arm(); signal.alarm(1000); signal.pause()"
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(GUARD_SECONDS) == -signal.SIGKILL


def test_a_child_that_still_imports_is_tethered_already() -> None:
    child = subprocess.Popen(
        launch.command("tests.support.late_riser"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"importing\n"
    child.stdin.close()
    assert child.wait(GUARD_SECONDS) == -signal.SIGKILL
    child.stdout.close()


def test_the_module_that_is_launched_is_the_main_program(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text("import sys; print(__name__, sys.argv[0].endswith('shown.py'), sys.argv[1:])")
    child = subprocess.Popen(
        launch.command("shown", "--rank", "1"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.read() == "__main__ True ['--rank', '1']\n"


def test_a_second_arm_changes_nothing(tmp_path: Path) -> None:
    program = "from runtime import tether; tether.arm(); n = len(tether._armed); tether.arm(); print(n)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", program + "; assert len(tether._armed) == n"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=(pipe := os.pipe())[0],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(pipe[0])
    os.close(pipe[1])
    assert result.stdout == "2\n"
