"""What ssh's words mean: at which step a way to a run ends, a sentence for a person, and what mends it. Pure.

The texts are OpenSSH's own (tests/fixtures/ssh has them as they came); the order of the rules matters, since
one failure writes several lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from console.client.ssh_target import Ssh, SshTarget

Step: TypeAlias = Literal["ssh", "name", "connect", "host key", "login", "command", "run", "version", "access", "clock"]
STEPS: tuple[Step, ...] = (
    "ssh", "name", "connect", "host key", "login", "command", "run", "version", "access", "clock",
)  # fmt: skip
"""In the order in which they are passed."""


@dataclass(frozen=True)
class Diagnosis:
    """Where it ends and why."""

    step: Step
    sentence: str
    fix: str
    """What to do, or the command that does it."""
    command: str = ""
    """What may be copied; empty where the fix is no command."""
    asks: bool = False
    """Whether ssh would ask a question in a terminal, and go on after the answer."""


@dataclass(frozen=True)
class _At:
    target: SshTarget
    ssh: Ssh
    words: str
    """All that ssh wrote to stderr."""
    code: int


def diagnose(code: int, stderr: str, target: SshTarget, ssh: Ssh) -> Diagnosis:
    """The meaning of an ssh that ended with `code` and these words, before anything came through it."""
    at = _At(target, ssh, stderr, code)
    for pattern, meaning in _RULES:
        if re.search(pattern, stderr, re.IGNORECASE | re.MULTILINE):
            return meaning(at)
    if code == 127:
        return _no_command(at)
    if code == 126:
        return _not_executable(at)
    said = _last_line(stderr)
    if code == 255:
        return Diagnosis("connect", f"ssh to {target.machine} failed: {said or 'it says nothing'}", *_try(at))
    return Diagnosis("command", f"{ssh.remote_command} on {target.machine} ended with code {code}: {said}", *_try(at))


def no_ssh(ssh: Ssh) -> Diagnosis:
    """The client itself is missing."""
    return Diagnosis("ssh", f"there is no {ssh.program[0]} on this machine", "install the OpenSSH client")


def noise(said: bytes, target: SshTarget, ssh: Ssh) -> Diagnosis:
    """Something else came first than the bridge: a shell that greets."""
    text = said.decode(errors="replace").strip().splitlines()
    shown = "".join(each if each.isprintable() else "?" for each in (text[0] if text else ""))[:60]
    sentence = f"the shell on {target.machine} prints {shown!r} before the bridge speaks"
    return Diagnosis("command", sentence, "let its start-up files print nothing when they are not interactive")


def other_protocol(theirs: str, protocol: int, ours: int, target: SshTarget) -> Diagnosis:
    """Both sides speak, and not the same."""
    older = "over there" if protocol < ours else "here"
    sentence = f"{target.machine} has mlx-distributed {theirs} (protocol {protocol}), and this console speaks {ours}"
    return Diagnosis("version", sentence, f"bring the older one, {older}, up to date")


def lost(stderr: str, target: SshTarget) -> Diagnosis:
    """A connection that stood has ended."""
    said = _last_line(stderr)
    return Diagnosis(
        "connect", f"the connection to {target.machine} ended" + (f": {said}" if said else ""), "it is made again"
    )


def is_http2(first: bytes) -> bool:
    """Whether these may be the first bytes of a gRPC server: a SETTINGS frame (RFC 9113, 3.4 and 4.1)."""
    return len(first) < 4 or first[3] == 4


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _try(at: _At) -> tuple[str, str]:
    command = at.ssh.by_hand(at.target, "true")
    return f"try by hand: {command}", command


def _unknown_name(at: _At) -> Diagnosis:
    fix = "check its spelling, or give it a HostName in ~/.ssh/config"
    return Diagnosis("name", f"the host {at.target.host} is not known here", fix)


def _refused(at: _At) -> Diagnosis:
    return Diagnosis(
        "connect", f"{at.target.machine} answers, and no sshd listens on that port",
        "start its SSH server (macOS: System Settings, General, Sharing, Remote Login), or name the port: ssh://host:PORT",
    )  # fmt: skip


def _silent(at: _At) -> Diagnosis:
    return Diagnosis(
        "connect", f"{at.target.machine} does not answer", "is it on, awake and in this network? a firewall, a VPN?"
    )


def _no_route(at: _At) -> Diagnosis:
    return Diagnosis(
        "connect", f"there is no way to {at.target.machine} from here",
        "is it in this network? on macOS 15 and newer allow this terminal in System Settings, Privacy, Local Network",
    )  # fmt: skip


def _hung_up(at: _At) -> Diagnosis:
    return Diagnosis(
        "connect", f"{at.target.machine} hangs up before it says who it is",
        "no sshd is there, or it has too many beginners at once (MaxStartups); try again in a moment",
    )  # fmt: skip


def _changed_key(at: _At) -> Diagnosis:
    found = re.search(r"ssh-keygen -f .*", at.words)
    command = found.group(0).strip() if found else f"ssh-keygen -R {at.target.host}"
    return Diagnosis(
        "host key", f"{at.target.machine} shows another host key than the one that is known: it may be another machine",
        f"ask its owner whether it is new; only then forget the old one: {command}", command,
    )  # fmt: skip


def _unknown_key(at: _At) -> Diagnosis:
    command = at.ssh.by_hand(at.target, "true")
    return Diagnosis(
        "host key", f"the host key of {at.target.machine} is not known yet",
        f"compare its fingerprint and say yes once: {command}", command, asks=True,
    )  # fmt: skip


def _denied(at: _At) -> Diagnosis:
    methods = re.search(r"Permission denied \(([^)]*)\)", at.words)
    ways = methods.group(1) if methods else ""
    who = at.target.destination
    if "password" in ways or "keyboard-interactive" in ways:
        command = f"ssh-copy-id {'-p ' + str(at.target.port) + ' ' if at.target.port else ''}{who}"
        sentence = f"{at.target.machine} took no key of yours, and wants a password ({ways})"
        return Diagnosis("login", sentence, f"give it your key once: {command}", command, asks=True)
    return Diagnosis(
        "login", f"{at.target.machine} took no key of yours ({ways})",
        "load the right key (ssh-add), name it in ~/.ssh/config (IdentityFile), or have it added over there",
        "ssh-add -l",
    )  # fmt: skip


def _too_many_keys(at: _At) -> Diagnosis:
    fix = "name the right key in ~/.ssh/config, with IdentitiesOnly yes"
    return Diagnosis("login", f"the agent offered {at.target.machine} too many keys", fix)


def _open_key(at: _At) -> Diagnosis:
    found = re.search(r"Permissions \S+ for '([^']+)' are too open", at.words)
    path = found.group(1) if found else "the key's file"
    command = f"chmod 600 {path}"
    return Diagnosis("login", f"ssh does not use {path}: others can read it", command, command)


def _bad_config(at: _At) -> Diagnosis:
    return Diagnosis("ssh", f"ssh does not accept its own configuration: {_first_line(at.words)}", "mend that file")


def _first_line(words: str) -> str:
    return next((line.strip() for line in words.splitlines() if line.strip()), "")


def _sessions(at: _At) -> Diagnosis:
    return Diagnosis(
        "login", f"{at.target.machine} lets you in and opens no session",
        "its sshd allows too few (MaxSessions), or none for this account; end another one, or ask who runs it",
    )  # fmt: skip


def _no_command(at: _At) -> Diagnosis:
    command = at.ssh.by_hand(at.target, "command -v mlx-distributed")
    return Diagnosis(
        "command", f"{at.target.machine} finds no {at.ssh.remote_command}",
        f"install it there, or name its path: --remote-command /path/to/mlx-distributed (look: {command})", command,
    )  # fmt: skip


def _not_executable(at: _At) -> Diagnosis:
    return Diagnosis(
        "command", f"{at.ssh.remote_command} on {at.target.machine} cannot be executed",
        "name another path: --remote-command /path/to/mlx-distributed",
    )  # fmt: skip


def _no_account(at: _At) -> Diagnosis:
    fix = "use an account that may run commands: ssh://user@host"
    return Diagnosis("login", f"{at.target.machine} lets you in, but runs no command for this account", fix)


def _too_old(at: _At) -> Diagnosis:
    command = at.ssh.by_hand(at.target, at.ssh.remote_command, "--version")
    sentence = f"{at.ssh.remote_command} on {at.target.machine} is too old: it knows no dial-stdio"
    return Diagnosis("version", sentence, f"bring it up to date there (look: {command})", command)


def _run(at: _At) -> Diagnosis:
    """Our own sentence from over there: fact; next move."""
    found = re.search(r"^error: (.*)$", at.words, re.MULTILINE)
    fact, _, fix = (found.group(1) if found else "").partition("; ")
    return Diagnosis("run", f"{at.target.machine}: {fact}", fix or "start it there, or name another: ssh://host/RUN")


_RULES: tuple[tuple[str, Callable[[_At], Diagnosis]], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", _changed_key),
    (r"Could not resolve hostname|Name or service not known|nodename nor servname", _unknown_name),
    (r"bad configuration option|Bad owner or permissions on|terminating, \d+ bad|command-line: line", _bad_config),
    (r"UNPROTECTED PRIVATE KEY FILE", _open_key),
    (r"Host key verification failed|host key is known for", _unknown_key),
    (r"Too many authentication failures", _too_many_keys),
    (r"open failed|Session open refused|mux_client_request_session", _sessions),
    (r"Permission denied \([\w,-]+\)", _denied),
    (r"Connection refused", _refused),
    (r"timed out|Timeout, server", _silent),
    (r"No route to host|Network is unreachable", _no_route),
    (r"kex_exchange_identification|ssh_exchange_identification|banner exchange", _hung_up),
    (r"there is no command dial-stdio|invalid choice: 'dial-stdio'", _too_old),
    (r"account is (currently )?not available|nologin", _no_account),
    (r"^error: ", _run),
    (r"command not found|: not found|No such file or directory", _no_command),
    (r"Permission denied$", _not_executable),
)
