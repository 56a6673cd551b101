"""`doctor --host`: the ten steps from a machine's name to its run, as lines or as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from console.cli.reaching import ssh_from
from console.cli.targets import done
from console.client.line import Line
from console.client.preflight import Check, preflight
from console.client.ssh_target import SCHEME, NotATarget, Ssh, SshTarget
from runtime.errors import UsageError


def shown_way(text: str, remote_command: str, *, operate: bool, as_json: bool) -> int:
    """Walk it; 0 where there is a way, else 1. Raises UsageError for what names no machine."""
    try:
        target = SshTarget.parse(text if "://" in text else f"{SCHEME}{text}")
    except NotATarget as wrong:
        raise UsageError(str(wrong)) from wrong
    checks, said = done(_walked(target, ssh_from(os.environ, remote_command, operate=operate)))
    if as_json:
        print(json.dumps({"target": str(target), "steps": [asdict(check) for check in checks], "ssh": said}, indent=2))
    else:
        failed = any(check.outcome == "fail" for check in checks)
        print("\n".join([*(check.text for check in checks), *(f"   | {each}" for each in said if failed)]))
    return 1 if any(check.outcome == "fail" for check in checks) else 0


async def _walked(target: SshTarget, ssh: Ssh) -> tuple[list[Check], list[str]]:
    line = Line(target, ssh)
    try:
        return await preflight(line), list(line.transcript)
    finally:
        await line.close()
