"""Addresses: `host:port` (IPv6 in brackets) or `unix:/path`; and one clear sentence when one cannot be listened on."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from pathlib import Path

from runtime.errors import RunError

UNIX = "unix:"
UNIX_PATH_BYTES = 103
"""What every system allows for the path of a unix socket (macOS: 104 with the final zero byte)."""


def split(address: str) -> tuple[str, int]:
    """Host and port of a TCP address; RunError when it is not one."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise RunError(f"{address}: not an address; write host:port (port 0 = any free one) or unix:/path")
    return host.strip("[]"), int(port)


def connectable(listen: str, port: int) -> str:
    """The address to connect to, once the server listens on `port`."""
    if listen.startswith(UNIX):
        return listen
    host, _, _ = listen.rpartition(":")
    return f"{host}:{port}"


def in_use(listen: str) -> RunError:
    """The sentence for an address that another server holds."""
    return RunError(
        f"{listen} is in use by another process: stop it, or choose another address (port 0 = any free one)"
    )


def require_free(listen: str) -> None:
    """RunError when `listen` is malformed, or a unix socket that a live server holds (gRPC would take it away)."""
    if not listen.startswith(UNIX):
        split(listen)
        return
    path = Path(listen.removeprefix(UNIX))
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        raise RunError(f"{listen}: a unix socket's path may have {UNIX_PATH_BYTES} bytes: choose a shorter folder")
    if not path.parent.is_dir():
        raise RunError(f"{listen}: the folder {path.parent} does not exist: create it or choose another")
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return
    raise in_use(listen)


def refusal(listen: str, error: Exception) -> RunError:
    """Why gRPC could not listen there. It does not tell the cause, so the address is tried once more by hand."""
    cause: object = error
    try:
        if listen.startswith(UNIX):
            path = listen.removeprefix(UNIX)
            with closing(socket.socket(socket.AF_UNIX)) as probe:
                probe.bind(path)
                Path(path).unlink()
        else:
            host, port = split(listen)
            family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with closing(socket.socket(family, kind, protocol)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen(1)
    except OSError as reason:
        if isinstance(reason, socket.gaierror):
            return RunError(f"{listen}: the host is not known here: check its spelling, or use an IP address")
        if reason.errno == errno.EADDRINUSE:
            return in_use(listen)
        cause = reason.strerror or reason
    return RunError(f"{listen}: cannot listen there: {cause}; choose another address")
