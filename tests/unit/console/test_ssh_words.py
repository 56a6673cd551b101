"""What is typed becomes ssh's command line, and what ssh answers becomes a step, a sentence and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.client.diagnosis import STEPS, Diagnosis, diagnose, is_http2, lost, no_ssh, noise, other_protocol
from console.client.line import Greeting
from console.client.preflight import Check, checks
from console.client.ssh_target import NotATarget, Ssh, SshTarget

TEXTS = Path(__file__).parents[2] / "fixtures" / "ssh"
NAMES = sorted(path.stem for path in TEXTS.glob("*.txt") if path.stem != "meanings")
LAB = SshTarget("lab-m4", "kim")


def meaning_of(name: str) -> Diagnosis:
    first, _, words = (TEXTS / f"{name}.txt").read_text().partition("\n")
    target = SshTarget("lab-m4", "kim", 2222 if name == "password-with-port" else 0)
    return diagnose(int(first.removeprefix("exit ")), words, target, Ssh())


def test_every_text_of_ssh_has_the_meaning_that_the_table_says() -> None:
    table = (TEXTS / "meanings.txt").read_text().splitlines()
    assert len(table) == len(NAMES) > 30
    for row in table:
        name, *rest = row.split(" | ")
        found = meaning_of(name)
        assert [found.step, found.sentence, found.fix, *(["asks"] if found.asks else [])] == rest


@pytest.mark.parametrize("name", NAMES)
def test_every_meaning_has_a_step_and_a_next_move(name: str) -> None:
    found = meaning_of(name)
    assert found.step in STEPS
    assert found.fix
    assert "\n" not in found.sentence + found.fix + found.command


def test_what_ssh_never_says_itself_has_a_meaning_too() -> None:
    assert no_ssh(Ssh(("nossh",))).sentence == "there is no nossh on this machine"
    assert "prints 'Hi?[31m there'" in noise(b"Hi\x1b[31m there\nmore", LAB, Ssh()).sentence
    assert "prints ''" in noise(b"", LAB, Ssh()).sentence
    assert other_protocol("0.9", 1, 2, LAB).fix == "bring the older one, over there, up to date"
    assert other_protocol("0.9", 3, 2, LAB).fix == "bring the older one, here, up to date"
    assert lost("Killed", LAB).sentence == "the connection to kim@lab-m4 ended: Killed"
    assert lost("", LAB).sentence == "the connection to kim@lab-m4 ended"


def test_a_settings_frame_is_a_server_and_a_greeting_is_not() -> None:
    assert is_http2(b"\x00\x00\x12\x04\x00")
    assert is_http2(b"\x00")
    assert not is_http2(b"Welcome")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ssh://lab-m4", SshTarget("lab-m4")),
        ("ssh://kim@lab-m4:2222/runs/sft/", SshTarget("lab-m4", "kim", 2222, "runs/sft")),
        ("ssh://[fe80::1]:22//abs/run", SshTarget("fe80::1", "", 22, "/abs/run")),
        ("ssh://[::1]", SshTarget("::1")),
        ("ssh://kim@corp@lab", SshTarget("lab", "kim@corp")),
    ],
)
def test_a_target_is_read(text: str, target: SshTarget) -> None:
    assert SshTarget.parse(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lab-m4", "is no target"),
        ("ssh://", "names no host"),
        ("ssh://@lab", "no user before its @"),
        ("ssh://-oProxyCommand=evil", "cannot begin with a dash"),
        ("ssh://-l@lab", "cannot begin with a dash"),
        ("ssh://la b", "no blanks"),
        ("ssh://lab\x1b[0m", "no control characters"),
        ("ssh://lab:ssh", "is no port"),
        ("ssh://lab:0", "is no port"),
        ("ssh://lab:70000", "is no port"),
        ("ssh://:22", "names no host"),
    ],
)
def test_what_names_no_machine_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotATarget, match=words):
        SshTarget.parse(text)


def test_the_command_line_asks_nothing_and_leaves_host_keys_alone() -> None:
    words = Ssh().dial(SshTarget("lab", "kim", 22, "my runs/a"))
    assert words == [
        "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
        "-o", "ServerAliveCountMax=3", "-p", "22", "--", "kim@lab",
        "mlx-distributed dial-stdio --read-only -- 'my runs/a'",
    ]  # fmt: skip
    assert not any("StrictHostKeyChecking" in word for word in words)
    assert Ssh(remote_command="/opt/mlx", operate=True).dial(SshTarget("lab"))[-1] == "/opt/mlx dial-stdio"
    assert "BatchMode=yes" not in Ssh().ask(LAB)
    assert Ssh().settings(LAB) == ["ssh", "-G", "--", "kim@lab-m4"]
    assert str(SshTarget("lab", "kim", 22, "runs/a")) == "ssh://kim@lab:22/runs/a"


def test_a_check_says_what_was_passed_where_it_ended_and_what_was_not_reached() -> None:
    settings = {"hostname": "m4.lab", "port": "2222", "user": "kim", "proxyjump": "gw"}
    found = checks(meaning_of("no-command"), None, settings, LAB)
    assert [check.outcome for check in found] == ["ok"] * 5 + ["fail"] + ["skip"] * 4
    assert found[1].sentence == "lab-m4 is m4.lab, through gw"
    assert found[4].sentence == "as kim, with no question asked"
    assert found[5].text.startswith(" 6 fail command  kim@lab-m4 finds no mlx-distributed; fix: install it there")


def test_a_way_to_its_end_tells_the_version_the_run_the_rights_and_the_clock() -> None:
    greeting = Greeting("0.4.1", "/runs/a", -0.2, 0.0123, may_act=False)
    told = {check.step: check for check in checks(None, greeting, {}, LAB)}
    assert told["version"].sentence == "mlx-distributed 0.4.1, 12.3 ms there and back"
    assert told["access"].sentence.startswith("read-only")
    assert told["clock"] == Check(10, "clock", "ok", "its clock is 0.2 s behind")
    late = {check.step: check for check in checks(None, Greeting("1", "/r", 60.0, 0.1, may_act=True), {}, LAB)}
    assert (late["clock"].outcome, late["clock"].sentence) == ("warn", "its clock is 60.0 s ahead")
