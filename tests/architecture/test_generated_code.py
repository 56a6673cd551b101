"""The committed code of proto/mlxd_wire equals what the compiler makes of the .proto files beside it.

After a change of a .proto file, from the root of the repository:

    python -P -c "from tests.architecture.test_generated_code import regenerate; regenerate('proto')"
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "proto" / "mlxd_wire").glob("*.proto"))
GENERATED = sorted(path for path in (ROOT / "proto" / "mlxd_wire").iterdir() if "_pb2" in path.name)


def regenerate(into: str | Path) -> None:
    """Compiles every .proto file to `<into>/mlxd_wire/*_pb2.py` and its types to `*_pb2.pyi`."""
    from grpc_tools import protoc

    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    arguments = [
        f"--plugin=protoc-gen-mypy={plugin}",
        f"-I{ROOT / 'proto'}",
        f"--python_out={into}",
        f"--mypy_out={into}",
    ]
    if protoc.main(["protoc", *arguments, *(str(source) for source in SOURCES)]) != 0:
        raise RuntimeError("protoc failed; its message is above")


def versions_of(code: str) -> str:
    """Which compiler made this file, as it says itself."""
    found = re.search(r"^# Protobuf Python Version: (\S+)", code, re.MULTILINE)
    return found.group(1) if found else "unknown"


def test_the_committed_code_is_what_the_compiler_makes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    regenerate(tmp_path)
    capfd.readouterr()
    fresh = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "mlxd_wire").iterdir()}
    committed = {path.name: path.read_text(encoding="utf-8") for path in GENERATED}
    assert sorted(fresh) == sorted(committed), "a file is missing or left over: regenerate (see above)"
    for name, code in committed.items():
        assert versions_of(code) == versions_of(fresh[name]), f"{name}: made by another grpcio-tools than installed"
        assert code == fresh[name], f"{name} is not what its .proto file says: regenerate (see above)"


def test_the_generated_code_imports_without_a_warning() -> None:
    modules = [f"mlxd_wire.{path.stem}" for path in GENERATED if path.suffix == ".py"]
    script = "import sys; [__import__(name) for name in sys.argv[1:]]"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "proto")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert modules
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_declared_protobuf_floor_is_what_the_generated_code_needs() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    floor = re.search(r'"protobuf>=([\d.]+)', project)
    needed = {versions_of(path.read_text(encoding="utf-8")) for path in GENERATED if path.suffix == ".py"}
    assert floor is not None
    assert len(needed) == 1
    assert version(floor.group(1)) >= version(needed.pop()), "an older protobuf refuses to load the generated code"


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def test_every_message_is_generated_from_a_file_of_ours() -> None:
    import importlib

    for source in SOURCES:
        module = importlib.import_module(f"mlxd_wire.{source.stem}_pb2")
        declared = re.findall(r"^message (\w+)", source.read_text(encoding="utf-8"), re.MULTILINE)
        assert declared
        assert all(issubclass(getattr(module, name), Message) for name in declared)
