"""What the environment and the command line say about reaching other machines: read here, passed down."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping

from console.client.diagnosis import diagnose
from console.client.ssh_target import REMOTE_COMMAND, Ssh, SshTarget

KNOCK_SECONDS = 30.0
SSH_VARIABLE = "MLXD_SSH"
"""The ssh client, with options of its own: `ssh -F lab.config`."""
COMMAND_VARIABLE = "MLXD_REMOTE_COMMAND"
"""What is called over there where --remote-command does not say it."""


def ssh_from(environment: Mapping[str, str], remote_command: str = "", *, operate: bool = False) -> Ssh:
    """How to call other machines."""
    program = tuple(shlex.split(environment.get(SSH_VARIABLE, ""))) or ("ssh",)
    return Ssh(program, remote_command or environment.get(COMMAND_VARIABLE, "") or REMOTE_COMMAND, operate)


def has_question(target: SshTarget, ssh: Ssh) -> bool:
    """Whether ssh would ask something that only a person can answer; whatever else may be wrong is said later."""
    try:
        knocked = subprocess.run(
            ssh.knock(target), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=KNOCK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return knocked.returncode == 255 and diagnose(255, knocked.stderr.decode(errors="replace"), target, ssh).asks


def ask_in_terminal(target: SshTarget, ssh: Ssh) -> bool:
    """Run ssh once so that it may ask here; whether it came in. A password is asked again by each connection: a key, or
    ControlPersist in ~/.ssh/config, saves that."""
    print(f"ssh {target.destination} has a question:", file=sys.stderr, flush=True)
    try:
        return subprocess.run(ssh.ask(target), stdout=2, check=False).returncode != 255
    except OSError:
        return False
