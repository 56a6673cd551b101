"""Is there a way to a run over there? Ten numbered steps: what each found, or why it ends there and what mends it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from console.client.diagnosis import STEPS, Diagnosis, Step, diagnose, no_ssh
from console.client.line import Greeting, Line, NoWay
from console.client.ssh_target import Ssh, SshTarget

Outcome: TypeAlias = Literal["ok", "warn", "fail", "skip"]
MOST_SKEW_SECONDS = 5.0
SETTINGS_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    """One step of the way."""

    number: int
    step: Step
    outcome: Outcome
    sentence: str
    fix: str = ""
    command: str = ""

    @property
    def text(self) -> str:
        """One line for a person."""
        mended = f"; fix: {self.fix}" if self.fix else ""
        return f"{self.number:>2} {self.outcome:<4} {self.step:<9}{self.sentence}{mended}"


async def preflight(line: Line) -> list[Check]:
    """Walk the whole way, with the line that the console would use; it stays up where it could be made."""
    settings = await settings_of(line.target, line.ssh)
    if isinstance(settings, Diagnosis):
        return checks(settings, None, {}, line.target)
    ended = await _nameless(settings, line)
    if ended is None:
        try:
            await line.where()
        except NoWay as none:
            ended = none.diagnosis
    return checks(ended, line.greeting if ended is None else None, settings, line.target)


def checks(
    ended: Diagnosis | None, greeting: Greeting | None, settings: dict[str, str], target: SshTarget
) -> list[Check]:
    """The steps in their order: what was passed, where it ended, and what was not reached. Pure."""
    at = STEPS.index(ended.step) if ended is not None else len(STEPS)
    found = []
    for number, step in enumerate(STEPS, 1):
        if ended is not None and number - 1 == at:
            found.append(Check(number, step, "fail", ended.sentence, ended.fix, ended.command))
        elif number - 1 > at:
            found.append(Check(number, step, "skip", "not reached"))
        elif greeting is not None and (said := _of_greeting(number, step, greeting)) is not None:
            found.append(said)
        else:
            found.append(Check(number, step, "ok", _passed(step, settings, target)))
    return found


def _of_greeting(number: int, step: Step, greeting: Greeting) -> Check | None:
    match step:
        case "run":
            return Check(number, step, "ok", greeting.folder)
        case "version":
            ping = f"{1000 * greeting.round_trip_seconds:.1f} ms there and back"
            return Check(number, step, "ok", f"mlx-distributed {greeting.version}, {ping}")
        case "access":
            words = (
                "the run may be changed from here" if greeting.may_act else "read-only: the run may only be looked at"
            )
            return Check(number, step, "ok", words)
        case "clock":
            return _clock(number, greeting.clock_offset_seconds)
        case _:
            return None


def _clock(number: int, offset: float) -> Check:
    words = f"its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) <= MOST_SKEW_SECONDS:
        return Check(number, "clock", "ok", words)
    return Check(number, "clock", "warn", words, "set the time there (NTP); ages are shown by its own clock meanwhile")


def _passed(step: Step, settings: dict[str, str], target: SshTarget) -> str:
    host, port = settings.get("hostname", target.host), settings.get("port", "22")
    jump = settings.get("proxyjump", "none")
    match step:
        case "ssh":
            return "the system's client, with ~/.ssh/config"
        case "name":
            return f"{target.host} is {host}" + (f", through {jump}" if jump != "none" else "")
        case "connect":
            return f"port {port} answers"
        case "host key":
            return "known"
        case "login":
            return f"as {settings.get('user', target.user)}, with no question asked"
        case "command":
            return "found"
        case _:
            return "passed"


async def settings_of(target: SshTarget, ssh: Ssh) -> dict[str, str] | Diagnosis:
    """What ~/.ssh/config makes of the target, by ssh's names in lower case; what is wrong where ssh does not say."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*ssh.settings(target), stdout=pipe, stderr=pipe)
    except OSError:
        return no_ssh(ssh)
    try:
        async with asyncio.timeout(SETTINGS_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return {}
    if process.returncode:
        return diagnose(process.returncode, err.decode(errors="replace"), target, ssh)
    rows = (line.partition(" ") for line in out.decode(errors="replace").splitlines())
    return {name.lower(): value for name, _, value in rows}


async def _nameless(settings: dict[str, str], line: Line) -> Diagnosis | None:
    """A name that nobody knows is told before ssh tries; behind a jump host only that one knows it."""
    if settings.get("proxyjump", "none") != "none" or settings.get("proxycommand", "none") != "none":
        return None
    host = settings.get("hostname", line.target.host)
    with suppress(OSError):
        await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return None
    return diagnose(255, f"ssh: Could not resolve hostname {host}: Name or service not known", line.target, line.ssh)
