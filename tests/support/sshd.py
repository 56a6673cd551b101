"""A real OpenSSH server on a loopback port, with its own keys and files; and clients' configurations for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
COMMAND = str(Path(sys.executable).with_name("mlx-distributed"))
needs_sshd = pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="there is no OpenSSH server here")
GUARD_SECONDS = 60.0


@dataclass
class Server:
    """A server that listens."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def key(self) -> Path:
        """A private key that it accepts."""
        return self.folder / "user"

    @property
    def authorized(self) -> Path:
        """Who may come in, and what they may do."""
        return self.folder / "authorized_keys"

    def allow(self, options: str = "", key: Path | None = None) -> None:
        """From now on this key (its own, if none is named) comes in, with these options, and no other."""
        public = (key or self.key).with_suffix(".pub").read_text()
        self.authorized.write_text(f"{options} {public}".lstrip())

    def client(self, name: str = "client", *, known: bool = True, **options: str) -> tuple[str, ...]:
        """The words of an ssh that knows this server (or does not), and nobody's own files."""
        hosts = self.folder / f"{name}.hosts"
        host_key = (self.folder / "host.pub").read_text().split()
        hosts.write_text(f"[127.0.0.1]:{self.port} {host_key[0]} {host_key[1]}\n" if known else "")
        rows = {
            "IdentityFile": str(self.key), "IdentitiesOnly": "yes", "IdentityAgent": "none",
            "UserKnownHostsFile": str(hosts), "GlobalKnownHostsFile": "/dev/null", "LogLevel": "INFO", **options,
        }  # fmt: skip
        config = self.folder / f"{name}.config"
        config.write_text("".join(f"{key} {value}\n" for key, value in rows.items()))
        return ("ssh", "-F", str(config))


def new_key(path: Path) -> Path:
    """A key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=GUARD_SECONDS)
    return path


@contextmanager
def sshd(folder: Path, **options: str) -> Iterator[Server]:
    """A server with its files in `folder`, which nobody else uses; gone afterwards."""
    assert SSHD is not None
    folder.mkdir(exist_ok=True)
    if os.getuid() == 0:
        with suppress(OSError):
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it shuts its unprivileged half in
    new_key(folder / "host")
    new_key(folder / "user")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rows: Mapping[str, str] = {
        "Port": str(port), "ListenAddress": "127.0.0.1", "HostKey": str(folder / "host"), "PidFile": "none",
        "AuthorizedKeysFile": str(folder / "authorized_keys"), "UsePAM": "no", "StrictModes": "no",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "PermitRootLogin": "yes", **options,
    }  # fmt: skip
    config = folder / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in rows.items()))
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log)
    server = Server(folder, port, process)
    server.allow()
    try:
        _wait_until_it_listens(server)
        yield server
    finally:
        process.terminate()
        process.wait(GUARD_SECONDS)


def _wait_until_it_listens(server: Server) -> None:
    while True:
        assert server.process.poll() is None, (server.folder / "sshd.log").read_text()
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        os.sched_yield()
