"""`mlx-serve RUN_OR_MODEL`: an OpenAI-compatible server on the newest good checkpoint of a run, or on a model folder.

A run's checkpoint is exported into a temporary folder that goes away with the server. The run may still be training:
nothing of its folder is touched, and a checkpoint that is broken is passed over, not set aside.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from console.cli.invocation import Parser, answer
from runtime.app import exits
from runtime.errors import CheckpointError, RunError, UsageError

if TYPE_CHECKING:
    from runtime.config.cluster import ServeSettings

DESCRIPTION = "serve a run's newest good checkpoint, or a model folder, over HTTP (the API of OpenAI)"
HIGHEST_PORT = 65535
LOOPBACK = ("127.0.0.1", "::1", "localhost")
STOP_SECONDS = 5.0
"""How long the server may take to end after SIGINT before it is killed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `mlx-serve`: returns the exit code, prints at most one `error:` line."""
    words = list(sys.argv[1:] if argv is None else argv)
    return answer(lambda: serve(parser().parse_args(words)))


def parser() -> Parser:
    """The parser of `mlx-serve`."""
    made = Parser(prog="mlx-serve", description=DESCRIPTION)
    made.add_argument("source", metavar="RUN_OR_MODEL", type=Path, help="a run's folder, or a folder with config.json")
    made.add_argument("--host", help="address to listen on (default: serve.host of the run's configuration)")
    made.add_argument("--port", type=int, help="port to listen on (default: serve.port)")
    made.add_argument("--name", help="what clients call the model (default: the folder's name)")
    made.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key that clients must send")
    made.add_argument("--step", type=int, metavar="N", help="this checkpoint of the run instead of the newest good one")
    return made


def serve(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Returns 0 when the server ended by itself.

    Raises:
        UsageError: `source` is neither a run nor a model folder, --step goes with a model folder, or the key's
            variable is empty.
        RunError: no good checkpoint, the address is in use, or the server failed.
        KeyboardInterrupt: Ctrl-C; the server has ended by then.
    """
    from runtime import launch

    settings = settings_for(args.source)
    host = settings.host if args.host is None else args.host
    port = settings.port if args.port is None else args.port
    key_env = settings.api_key_env if args.api_key_env is None else args.api_key_env
    check_key(key_env, host)
    claim_address(host, port)
    signal.signal(signal.SIGTERM, _leave)  # so that the temporary folder goes away then, too
    with model_folder(args.source, args.step) as folder:
        options = ["--host", host, "--port", str(port), "--max-tokens", str(settings.max_tokens)]
        options += ["--name", args.name or args.source.resolve().name, "--api-key-env", key_env]
        status = run_tethered(launch.command("runtime.app.serve_child", "--model", str(folder), *options))
    if status != 0:
        raise RunError(f"the server ended with {status}; its last lines above say why")
    return exits.DONE


def settings_for(source: Path) -> ServeSettings:
    """[serve] of the run's own configuration; of a model folder, the defaults. Raises ConfigError."""
    from runtime.config.load import load_config
    from runtime.config.schema import Config

    resolved = source / "config.toml"
    return (load_config(resolved) if resolved.is_file() else Config()).serve


def check_key(variable: str, host: str) -> None:
    """Raise UsageError when the key's variable is empty; say so when strangers may ask without a key."""
    if variable and not os.environ.get(variable):
        raise UsageError(f"the environment variable {variable} is empty; it must hold the key that clients send")
    if not variable and host not in LOOPBACK:
        print(f"whoever reaches {host} may ask: set serve.api_key_env (or --api-key-env) for a key", file=sys.stderr)


def claim_address(host: str, port: int) -> None:
    """Raise UsageError or RunError when nobody can listen there, before anything is exported or loaded."""
    import socket

    if not 0 <= port <= HIGHEST_PORT:
        raise UsageError(f"--port {port}: ports go from 0 (any free one) to {HIGHEST_PORT}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.create_server(address[:2], family=family):
            return
    except OSError as error:
        raise RunError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port") from error


@contextmanager
def model_folder(source: Path, step: int | None, *, doing: str = "serving") -> Iterator[Path]:
    """A folder that mlx-lm can load: `source` itself, or an export that lives as long as the block.

    `doing` is what the checkpoint is said to be taken for. Raises UsageError and CheckpointError.
    """
    if (source / "config.json").is_file():
        if step is not None:
            raise UsageError(f"{source} is a model folder and has no steps; leave --step out, or name a run's folder")
        yield source.resolve()
    elif (source / "checkpoints").is_dir():
        import tempfile

        with tempfile.TemporaryDirectory(prefix="mlx-serve-") as scratch:
            yield exported(source, step, Path(scratch) / "model", doing)
    else:
        raise UsageError(
            f"{source} is neither a run's folder (with checkpoints/) nor a model folder (with config.json)"
        )


def exported(run_folder: Path, step: int | None, target: Path, doing: str = "serving") -> Path:
    """Export the wanted checkpoint of a run, or else the newest one that is whole, to `target`; say which.

    Raises:
        CheckpointError: there is none, or the one asked for is broken.
    """
    from runtime.checkpoint.layout import checkpoint_folders, folder_name
    from runtime.checkpoint.refusals import BrokenCheckpoint
    from runtime.ids import Step

    root = run_folder / "checkpoints"
    wanted = checkpoint_folders(root) if step is None else [root / folder_name(Step(step))]
    for checkpoint in wanted:
        try:
            _write_model(run_folder, checkpoint, target)
        except BrokenCheckpoint as broken:
            print(f"{checkpoint.name} is passed over: {broken}", file=sys.stderr)
            continue
        print(f"{doing} {checkpoint}", file=sys.stderr)
        return target
    asked = "no checkpoint is whole yet" if step is None else f"there is no whole checkpoint of step {step}"
    raise CheckpointError(f"{root}: {asked}; `mlx-distributed checkpoints list {run_folder}` shows what there is")


def _write_model(run_folder: Path, checkpoint: Path, target: Path) -> None:
    """A plain model folder; an adapter is fused with its base, as exactly as both answered together."""
    from runtime.checkpoint.export import MODEL_FOLDER_NAME, export
    from runtime.checkpoint.manifest import read_manifest

    if not read_manifest(checkpoint).provenance.base:
        export(checkpoint, run_folder / MODEL_FOLDER_NAME, target)
        return
    from runtime.models.blas import load_blas

    load_blas()  # before the first import of mlx
    from runtime.checkpoint.fuse import fuse
    from runtime.config.load import load_config

    config = load_config(run_folder / "config.toml")
    fuse(checkpoint, config.model, config.run.seed, target, dequantize=True)


def run_tethered(command: Sequence[str]) -> int:
    """Run a child that dies with us, in a session of its own, and return its exit status; Ctrl-C ends it in order."""
    import subprocess

    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as child:
        try:
            return child.wait()
        except BaseException:
            child.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
            child.kill()
            raise


def _leave(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
