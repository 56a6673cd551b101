"""One shared secret per run, sent as metadata with every call.

It keeps other users of the machine, and stray processes of other runs, from joining. It does not hide traffic:
between hosts, use a private network or ssh.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

TOKEN_KEY = "authorization"
NAME_KEY = "mlxd-from"


def new_token() -> str:
    """A fresh token of 256 random bits."""
    return secrets.token_urlsafe(32)


def metadata_for(name: str, token: str | None) -> dict[str, str]:
    """What a caller called `name` sends with each call."""
    metadata = {NAME_KEY: name}
    if token is not None:
        metadata[TOKEN_KEY] = f"Bearer {token}"
    return metadata


def admits(token: str | None, metadata: Mapping[str, str]) -> bool:
    """Whether a server with this token lets a call in; the time it takes says nothing about the token."""
    if token is None:
        return True
    return hmac.compare_digest(f"Bearer {token}".encode(), metadata.get(TOKEN_KEY, "").encode())
