"""One server, from its address to its end: uvicorn carries, the engine computes, and each ends with the other."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import traceback
from pathlib import Path

import uvicorn

from runtime.errors import RunError
from runtime.serving.engine import Engine
from runtime.serving.routes import Routes

GRACE_SECONDS = 2
"""How long answers that are being written may go on after the server was told to end."""


class Server:
    """Serves the model in a folder under a name, on a listening socket that it takes over."""

    def __init__(self, folder: Path, name: str, listening: socket.socket, *, max_tokens: int, key: str) -> None:
        self._listening = listening
        self._engine = Engine(folder, name, max_tokens, on_loaded=self._say_ready)
        config = uvicorn.Config(
            Routes(self._engine, key).app(),
            log_level=logging.WARNING,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=1024,
        )
        self._uvicorn = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises RunError when the model cannot be loaded or its thread fails; KeyboardInterrupt after an end in order.
        """
        watcher = threading.Thread(target=self._end_with_engine, name="engine watch", daemon=True)
        watcher.start()
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._listening]))
        finally:
            self._engine.stop()
        if self._engine.failure is not None:
            raise self._explained(self._engine.failure)

    def _end_with_engine(self) -> None:
        self._engine.wait()
        self._uvicorn.should_exit = True

    def _say_ready(self) -> None:
        host, port = self._listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"{self._engine.name} answers at http://{shown}:{port}/v1 (Ctrl-C ends it)", file=sys.stderr, flush=True)

    def _explained(self, failure: Exception) -> RunError:
        if not self._engine.loaded:
            return RunError(f"the model cannot be opened: {failure}")
        traceback.print_exception(failure)
        return RunError(f"the thread that computes failed: {type(failure).__name__}: {failure}")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket there; port 0 takes any free one. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=1024)
