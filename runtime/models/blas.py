"""A fast BLAS for mlx on a Linux CPU, without a compiler and without system packages.

The mlx wheel bundles reference BLAS (3 to 5 GFLOP/s). OpenBLAS comes from `scipy-openblas32`, whose symbols carry a
prefix (`scipy_cblas_sgemm`). `patchelf` writes a copy without it; that copy, loaded with RTLD_GLOBAL *before* the first
`import mlx.core`, stands in front of the bundled library. Renaming takes 0.1 s and is cached per version.

A process has one BLAS for its whole life, so this module keeps one fact about the process: which one it loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CACHE_FOLDER = Path("~/.cache/mlx-distributed")
_CUDA_WHEELS = ("mlx-cuda-12", "mlx-cuda-13", "mlx-cuda")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

# Everything that libmlx imports from BLAS and LAPACK.
_NAMES = (
    "cblas_sgemm",
    "cblas_dgemm",
    "cblas_cgemm",
    "cgeev_",
    "cgesdd_",
    "cheevd_",
    "dgeev_",
    "dgeqrf_",
    "dgesdd_",
    "dgetrf_",
    "dgetri_",
    "dorgqr_",
    "dpotrf_",
    "dsyevd_",
    "dtrtri_",
    "sgeev_",
    "sgeqrf_",
    "sgesdd_",
    "sgetrf_",
    "sgetri_",
    "sorgqr_",
    "spotrf_",
    "ssyevd_",
    "strtri_",
)


@dataclass(frozen=True)
class Blas:
    """Which BLAS this process multiplies with."""

    name: str
    """`openblas 0.3.34`, `accelerate`, `cuda`, `preloaded` or `reference (slow)`."""
    fast: bool
    threads: int
    """Threads per product; 0 where the library decides or the question has no meaning."""
    note: str = ""
    """Why it is not the fast one, and what to do about it; empty when all is well."""


_in_use: Blas | None = None  # a fact about the process, not a setting: see the module's docstring


def load_blas(threads: int = 0, *, cache_folder: Path = CACHE_FOLDER) -> Blas:
    """Put the fastest BLAS in front of mlx's own and say which one that is.

    Call it before the first `import mlx.core`; later calls return the first answer. `threads` > 0 sets
    OPENBLAS_NUM_THREADS first (this process and its children); 0 leaves the environment alone. Never raises: without a
    fast BLAS the program is slow, not wrong, and `note` says what is missing. Nothing is done on macOS and under CUDA.
    """
    global _in_use  # noqa: PLW0603 - the process's one BLAS
    if _in_use is None:
        _in_use = _choose(threads, cache_folder.expanduser())
    return _in_use


def blas_in_use() -> Blas:
    """The BLAS that mlx uses in this process, without loading one."""
    return _in_use or _given() or Blas("reference (slow)", fast=False, threads=1, note="load_blas() was not called")


def measure_gflops(size: int = 1024, *, repeats: int = 3) -> float:
    """Best float32 speed of `size` x `size` products on mlx's default device, in GFLOP/s. Imports mlx."""
    import mlx.core as mx

    a = mx.random.normal((size, size))
    mx.eval(a @ a)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        mx.eval(a @ a)
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds) / 1e9)


def cuda_in_use() -> bool:
    """Whether mlx's CUDA backend is installed here and a driver is loaded."""
    return any(_version(wheel) for wheel in _CUDA_WHEELS) and _NVIDIA_DRIVER.exists()


def _given() -> Blas | None:
    """What needs no loading on this machine."""
    if sys.platform == "darwin":
        return Blas("accelerate", fast=True, threads=0)
    if cuda_in_use():
        return Blas("cuda", fast=True, threads=0)
    return None


def _choose(threads: int, cache_folder: Path) -> Blas:
    if given := _given():
        return given
    if "mlx.core" in sys.modules:
        note = "mlx was imported before load_blas(): call it first"
        return Blas("reference (slow)", fast=False, threads=1, note=note)
    if _symbol_is_global():
        return Blas("preloaded", fast=True, threads=threads)
    if threads > 0:
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    try:
        library = _open(cache_folder)
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        return Blas("reference (slow)", fast=False, threads=1, note=f"OpenBLAS could not be loaded: {error}")
    counted = library.scipy_openblas_get_num_threads()
    return Blas(f"openblas {_openblas_version()}", fast=True, threads=int(counted))


def _open(cache_folder: Path) -> ctypes.CDLL:
    """The renamed library, from the cache when possible, else from a folder that is gone as soon as it is loaded."""
    source = _source()
    cached = cache_folder / "blas" / f"openblas-{_version('scipy-openblas32')}-{platform.machine()}.so"
    try:
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            _rename_symbols(source, cached)
        return ctypes.CDLL(str(cached), mode=ctypes.RTLD_GLOBAL)
    except (OSError, subprocess.SubprocessError):  # the cache is unwritable, full, or holds a broken file
        with contextlib.suppress(OSError):
            cached.unlink(missing_ok=True)  # a broken file would stay for ever; the next start writes it anew
        with tempfile.TemporaryDirectory(prefix="mlx-distributed-") as folder:
            private = Path(folder) / "openblas.so"
            _rename_symbols(source, private)
            return ctypes.CDLL(str(private), mode=ctypes.RTLD_GLOBAL)


def _rename_symbols(source: Path, target: Path) -> None:
    """Write `source` without its symbol prefix to `target`, atomically: two workers may do it at once."""
    handle, partial = tempfile.mkstemp(prefix=target.name, dir=target.parent)
    os.close(handle)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".names") as table:
            table.writelines(f"scipy_{name} {name}\n" for name in _NAMES)
            table.flush()
            arguments = [_patchelf(), "--rename-dynamic-symbols", table.name, "--output", partial, str(source)]
            subprocess.run(arguments, check=True, capture_output=True, timeout=60)
        os.replace(partial, target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _source() -> Path:
    import scipy_openblas32

    return Path(scipy_openblas32.get_lib_dir()) / str(scipy_openblas32.get_library(fullname=True))


def _patchelf() -> str:
    """The patchelf of this environment, which need not be on PATH (`sys.executable -P -m ...` sets none)."""
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("patchelf", path=f"{scripts}{os.pathsep}{Path(sys.executable).parent}") or shutil.which(
        "patchelf"
    )
    if found is None:
        raise FileNotFoundError("patchelf is not installed (it comes with mlx-distributed on Linux)")
    return found


def _symbol_is_global() -> bool:
    """Whether somebody (LD_PRELOAD, say) already put a BLAS where libmlx will find it first."""
    return hasattr(ctypes.CDLL(None), "cblas_sgemm")


def _openblas_version() -> str:
    return ".".join(_version("scipy-openblas32").split(".")[:3])


def _version(distribution: str) -> str:
    """Version of an installed distribution; empty when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
