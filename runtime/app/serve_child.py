"""Entry of the server's process: `python -P -m runtime.launch runtime.app.serve_child ...`, started by `mlx-serve`.

It is tethered, so it never outlives `mlx-serve`; and it loads the fast BLAS, which works only before mlx is imported.
The API key comes in the environment, under the name that the command line gives: other users see command lines.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.app import exits
from runtime.errors import MlxdError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT, or until the process that started this one is gone; returns the exit code."""
    try:
        serve(arguments(argv))
    except MlxdError as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.FAILED
    except KeyboardInterrupt:
        return exits.STOPPED
    return exits.DONE


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line that `mlx-serve` writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--api-key-env", default="")
    return parser.parse_args(argv)


def serve(args: argparse.Namespace) -> None:
    """Bind, load, answer. Raises RunError and KeyboardInterrupt."""
    from runtime.models.blas import load_blas

    load_blas()
    from runtime.serving.server import Server, listen

    key = os.environ[args.api_key_env] if args.api_key_env else ""
    with listen(args.host, args.port) as listening:
        Server(args.model, args.name, listening, max_tokens=args.max_tokens, key=key).run()


if __name__ == "__main__":
    sys.exit(main())
