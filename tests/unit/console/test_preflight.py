"""The steps to a machine, with a shell in ssh's place: what ~/.ssh/config says, and then why there is no way."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from console.client.diagnosis import Diagnosis
from console.client.line import Line
from console.client.preflight import Check, checks, preflight
from console.client.ssh_target import Ssh, SshTarget

GUARD_SECONDS = 120.0
CONFIG = 'if [ "$1" = -G ]; then printf "hostname 127.0.0.1\\nport 2222\\nuser kim\\n%s"; exit 0; fi; '
NO_ROUTE = "echo ssh: connect to host lab port 2222: No route to host >&2; exit 255"


def walked(*program: str) -> list[Check]:
    async def whole() -> list[Check]:
        with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
            line = Line(SshTarget("lab"), Ssh(program), Path(folder))
            try:
                async with asyncio.timeout(GUARD_SECONDS):
                    return await preflight(line)
            finally:
                await line.close()

    return asyncio.run(whole())


def test_the_way_ends_where_ssh_ends() -> None:
    found = walked("sh", "-c", CONFIG % "" + NO_ROUTE, "ssh")
    assert [check.outcome for check in found] == ["ok", "ok", "fail", *["skip"] * 7]
    assert found[1].sentence == "lab is 127.0.0.1"
    assert (found[2].step, "no way to lab" in found[2].sentence) == ("connect", True)


def test_behind_a_jump_host_only_that_one_knows_the_name() -> None:
    found = walked("sh", "-c", CONFIG % "proxyjump gw\\n" + NO_ROUTE, "ssh")
    assert found[1].sentence == "lab is 127.0.0.1, through gw"


def test_without_an_ssh_client_it_ends_at_once() -> None:
    found = walked("/no/such/ssh")
    assert [check.outcome for check in found] == ["fail", *["skip"] * 9]


def test_what_ssh_says_of_its_own_configuration_ends_the_way_before_anybody_is_called() -> None:
    found = walked("sh", "-c", "echo config line 3: Bad configuration option: hots >&2; exit 255", "ssh")
    assert [check.outcome for check in found].count("fail") == 1
    assert found[-1].outcome == "skip"


def test_a_step_before_the_end_was_passed() -> None:
    found = checks(Diagnosis("version", "another version", "update it"), None, {}, SshTarget("lab"))
    assert {check.sentence for check in found if check.step in {"run", "command"}} == {"found", "passed"}
