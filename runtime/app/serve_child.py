"""Entry of the server's process: `python -P -m runtime.app.serve_child --model FOLDER ...`, started by `mlx-serve`.

It is mlx-lm's server with two things that must come first: the tether, so that it never outlives `mlx-serve`, and the
fast BLAS, which works only when it is loaded before mlx. The arguments are mlx-lm's own.
"""

from __future__ import annotations

from runtime.models.blas import load_blas


def main() -> None:
    """Serve until SIGINT, or until the process that started this one is gone."""
    load_blas()
    from mlx_lm import server

    server.main()


if __name__ == "__main__":
    main()
