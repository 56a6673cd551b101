"""[cluster], [console], [serve]: other machines, the screen, and the server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtime.config.table import Filled, Positive, Table, no_repeats

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]+):(?P<port>\d{1,5})")
_SSH_TARGET = re.compile(r"([^\s@:/-][^\s@:/]*@)?([A-Za-z0-9_][^\s@:/]*|\[[0-9A-Fa-f:.%]+\])(:(?P<port>\d{1,5}))?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIGHEST_PORT = 65535


def _listen(text: str) -> str:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        raise ValueError(f'must be HOST:PORT with a port from 0 (any free one) to 65535, not "{text}"')
    return text


def _ssh_targets(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        match = _SSH_TARGET.fullmatch(host)
        if match is None or not 0 < int(match["port"] or 22) <= _HIGHEST_PORT:
            raise ValueError(f'must hold names as OpenSSH takes them, "[user@]host[:port]", not "{host}"')
    return hosts


def _variable(text: str) -> str:
    if text and not _VARIABLE.fullmatch(text):
        raise ValueError("must be the name of an environment variable that holds the key, not the key itself")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is a machine's own name for itself."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host
    name = name if name.count(":") > 1 else name.partition(":")[0]
    return name in {"localhost", "::1"} or name.startswith("127.")


class ClusterSettings(Table):
    """The machines that take part; this one always does."""

    hosts: Annotated[
        tuple[str, ...], Field(strict=False), AfterValidator(_ssh_targets), AfterValidator(no_repeats)
    ] = ()
    """[] this machine; else e.g. ["studio.local", "me@mini.local:2222"] through OpenSSH"""
    remote_command: Filled = "mlx-distributed"
    """how this program is called over there"""
    interface: Filled = "auto"
    """"auto" (probed) | an interface or subnet"""
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:0"
    """the coordinator; anything but loopback needs auth"""
    auth: Literal["token", "mtls"] = "token"
    """"token" | "mtls" """
    env: Mapping[str, str] = {}
    """environment variables of the processes on every machine"""


class ConsoleSettings(Table):
    """The screen."""

    refresh_hz: Annotated[float, Field(gt=0, le=30)] = 1.0
    """drawings per second"""
    theme: str = ""
    """"" -> the one that was chosen last"""


class ServeSettings(Table):
    """mlx-serve."""

    host: Filled = "127.0.0.1"
    """address that the server listens on"""
    port: Annotated[int, Field(ge=0, le=_HIGHEST_PORT)] = 8080
    """0 -> any free one"""
    api_key_env: Annotated[str, AfterValidator(_variable)] = ""
    """environment variable that holds the key which clients must send; "" -> no key"""
    max_tokens: Positive = 512
    """longest answer when the client names no limit"""
