"""Which BLAS stands in front of mlx. What changes a process is tried in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.models import blas

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="macOS has Accelerate")
ROOT = Path(__file__).resolve().parents[3]

ASK = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from runtime.models.blas import blas_in_use, load_blas, measure_gflops
{before}
used = load_blas({threads}, cache_folder=Path({cache!r}))
assert blas_in_use() is load_blas(99) is used
print(json.dumps([used.name, used.fast, used.threads, used.note, os.environ.get("OPENBLAS_NUM_THREADS")]))
print(measure_gflops(256) > 0)
"""


def ask(cache: Path, *, threads: int = 1, before: str = "", path: str | None = None) -> list[object]:
    """What load_blas answers in a fresh process, after which mlx multiplies."""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    if path is not None:
        environment["PATH"] = path
    script = ASK.format(root=str(ROOT), before=before, threads=threads, cache=str(cache))
    answer, multiplied = printed_by(script, environment)
    assert multiplied == "True"
    found: list[object] = json.loads(answer)
    return found


def printed_by(script: str, environment: dict[str, str] | None = None) -> list[str]:
    """The lines that `script` prints in a fresh process; it must end well."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@ON_LINUX
def test_openblas_is_loaded_with_the_threads_asked_for_and_cached(tmp_path: Path) -> None:
    name, fast, threads, note, variable = ask(tmp_path, path="/nowhere")
    assert str(name).startswith("openblas 0.")
    assert (fast, threads, note, variable) == (True, 1, "", "1")
    (cached,) = (tmp_path / "blas").iterdir()
    written = cached.stat().st_mtime_ns
    assert ask(tmp_path)[1] is True
    assert cached.stat().st_mtime_ns == written


@ON_LINUX
def test_an_unwritable_cache_is_survived(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ask(tmp_path / "file" / "cache")[1] is True


@ON_LINUX
def test_a_broken_file_in_the_cache_is_survived_and_removed(tmp_path: Path) -> None:
    ask(tmp_path)
    (cached,) = (tmp_path / "blas").iterdir()
    cached.write_bytes(b"not a library")
    assert ask(tmp_path)[1] is True
    assert not cached.exists()


@ON_LINUX
def test_zero_threads_leave_the_environment_alone(tmp_path: Path) -> None:
    assert ask(tmp_path, threads=0)[4] is None


@ON_LINUX
def test_too_late_is_said(tmp_path: Path) -> None:
    name, fast, _, note, _ = ask(tmp_path, before="import mlx.core")
    assert (name, fast) == ("reference (slow)", False)
    assert "call it first" in str(note)


@ON_LINUX
def test_a_missing_package_is_said_and_not_fatal(tmp_path: Path) -> None:
    name, fast, _, note, _ = ask(tmp_path, before="sys.modules['scipy_openblas32'] = None")
    assert (name, fast) == ("reference (slow)", False)
    assert "OpenBLAS could not be loaded" in str(note)


@ON_LINUX
def test_a_preloaded_blas_is_kept(tmp_path: Path) -> None:
    preload = f"import ctypes; load = lambda path: ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL); ask = {str(tmp_path)!r}"
    ask(tmp_path)
    (cached,) = (tmp_path / "blas").iterdir()
    assert ask(tmp_path, before=f"{preload}; load({str(cached)!r})")[:2] == ["preloaded", True]


UNASKED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from runtime.models import blas
{before}
print([blas.blas_in_use().name, blas.blas_in_use().fast])
"""


def unasked(before: str) -> list[str]:
    """What blas_in_use answers in a fresh process where nobody has called load_blas."""
    return printed_by(UNASKED.format(root=str(ROOT), before=before))


def test_macos_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert blas._choose(1, tmp_path) == blas.Blas("accelerate", fast=True, threads=0)
    assert unasked("sys.platform = 'darwin'") == ["['accelerate', True]"]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with mlx's CUDA wheel and a driver: the file by which the driver is known."""
    driver = tmp_path / "version"
    driver.write_text("NVRM version\n")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(blas, "_NVIDIA_DRIVER", driver)
    monkeypatch.setattr(blas, "_CUDA_WHEELS", ("no-such-wheel", "pytest"))  # one that is installed wherever this runs
    return driver


def test_cuda_needs_nothing(cuda: Path, tmp_path: Path) -> None:
    assert blas._choose(1, tmp_path) == blas.Blas("cuda", fast=True, threads=0)


def test_without_a_call_the_bundled_one_is_named() -> None:
    before = "sys.platform = 'linux'; blas._NVIDIA_DRIVER = Path('/nowhere')"
    assert unasked(before) == ["['reference (slow)', False]"]


def test_mlx_already_here_means_too_late(cuda: Path, tmp_path: Path) -> None:
    import mlx.core  # noqa: F401 - the point of the test

    cuda.unlink()
    assert "call it first" in blas._choose(0, tmp_path).note


def test_cuda_needs_both_the_wheel_and_the_driver(cuda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blas.cuda_in_use()
    cuda.unlink()
    assert not blas.cuda_in_use()
    cuda.touch()
    monkeypatch.setattr(blas, "_CUDA_WHEELS", ("no-such-wheel",))
    assert not blas.cuda_in_use()


def test_a_missing_patchelf_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(FileNotFoundError, match="patchelf is not installed"):
        blas._patchelf()


def test_a_failed_renaming_leaves_no_file_behind(tmp_path: Path) -> None:
    with pytest.raises((subprocess.SubprocessError, OSError)):
        blas._rename_symbols(tmp_path / "no-such-library.so", tmp_path / "target.so")
    assert list(tmp_path.iterdir()) == []


def test_the_speed_is_a_positive_number() -> None:
    assert blas.measure_gflops(128, repeats=1) > 0


def test_importing_the_room_loads_no_mlx() -> None:
    modules = ["blas", "bytes_tokenizer", "device", "generate", "load", "scratch", "tokenizer"]
    imports = "\n".join(f"import runtime.models.{module}" for module in modules)
    loaded = "print(sorted({'mlx', 'mlx_lm', 'transformers', 'numpy'} & set(sys.modules)))"
    assert printed_by(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{imports}\n{loaded}") == ["[]"]
