"""The far end of a bridge: what it passes on, what it refuses, and how it knows the run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mlxd_wire import control_pb2 as pb

from console.cli.commands.dial_stdio import asked_by_force, only_one, run_named, stamp, via, ways_to
from console.cli.reaching import ask_in_terminal, has_question, ssh_from
from console.client.bridge import bridge, carry
from console.client.relay import CONTROL, MONITOR, STEERING, WATCHING, refusal
from console.client.ssh_target import Ssh, SshTarget
from runtime.app.register import living_runs, registered
from runtime.app.run_lock import RunLock
from runtime.config.private_folder import SOCKET_PATH_BYTES, private_folder, socket_path
from runtime.errors import RunError, RunFolderError, UsageError


def test_a_bridge_that_only_looks_has_no_way_to_the_control_service(tmp_path: Path) -> None:
    ways = ways_to(tmp_path, read_only=True, via="via ssh")
    assert set(ways) == {MONITOR}
    for method in WATCHING:
        assert refusal(f"/{MONITOR}/{method}", ways) == ""
    for method in ("Status", "Propose", "Commit", "Stop", "AddWorker", "RemoveWorker", "OpenMonitor"):
        assert "read-only" in refusal(f"/{CONTROL}/{method}", ways)


def test_a_bridge_that_may_act_passes_on_proposals_and_commits_alone(tmp_path: Path) -> None:
    ways = ways_to(tmp_path, read_only=False, via="via ssh")
    for method in STEERING:
        assert refusal(f"/{CONTROL}/{method}", ways) == ""
    for path in (f"/{CONTROL}/Stop", f"/{CONTROL}/AddWorker", f"/{MONITOR}/Nothing", "/mlxd.Cluster/Session", "/", ""):
        assert refusal(path, ways) == f"this bridge does not pass on {path}"


def test_a_proposal_says_by_which_way_it_came_whatever_it_said_before() -> None:
    message = pb.Action(kind="pause", by="kim@laptop").SerializeToString()
    assert pb.Action.FromString(stamp("via ssh from 192.0.2.7")(message)).by == "kim@laptop via ssh from 192.0.2.7"
    assert pb.Action.FromString(stamp("via a bridge")(b"")).by == "somebody via a bridge"
    assert via({"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"}) == "via ssh from 192.0.2.7"
    assert via({}) == "via a bridge"


def test_a_forced_command_takes_the_run_from_what_the_client_asked_for_and_nothing_else() -> None:
    def asked(command: str) -> str:
        return asked_by_force({"SSH_ORIGINAL_COMMAND": command})

    assert asked_by_force({}) == ""
    assert asked("mlx-distributed dial-stdio -- 'my runs/a'") == "my runs/a"
    assert asked("mlx-distributed dial-stdio") == ""
    for other in ("bash -i", "true", "scp -t /", "unclosed ' quote"):
        with pytest.raises(UsageError, match="may only look at runs"):
            asked(other)


def test_a_run_is_a_folder_of_the_home_or_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert run_named("here") == Path("here")
    assert run_named("nowhere-at-all") == Path("nowhere-at-all")
    assert run_named(str(tmp_path)[1:]) == tmp_path


def test_where_no_run_is_named_the_only_one_that_lives_is_meant() -> None:
    assert only_one([Path("a")]) == Path("a")
    with pytest.raises(RunFolderError, match="no run of yours lives"):
        only_one([])
    with pytest.raises(UsageError, match="2 runs live on this machine; name one of a, b"):
        only_one([Path("a"), Path("b")])


def test_the_runs_that_live_are_found_and_dead_links_are_cleared_away(tmp_path: Path) -> None:
    alive, dead = tmp_path / "alive", tmp_path / "dead"
    for folder in (alive, dead):
        folder.mkdir()
    with registered(dead, tmp_path), registered(alive, tmp_path):
        lock = RunLock.take(alive, "id", "command")
        assert living_runs(tmp_path) == [alive]
        lock.release()
        assert living_runs(tmp_path) == []
    assert list((private_folder(tmp_path) / "runs").iterdir()) == []


def test_where_no_link_can_be_made_a_run_goes_on_without(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    with registered(tmp_path, nowhere):
        assert living_runs(nowhere) == []


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    folder = private_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(RunError, match="is not yours alone"):
        private_folder(tmp_path)
    folder.chmod(0o700)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(RunError, match="is not yours alone"):
        private_folder(tmp_path)


def test_the_path_of_a_socket_has_a_length_that_every_system_allows(tmp_path: Path) -> None:
    longest = "x" * (SOCKET_PATH_BYTES - len(str(tmp_path)) - 1)
    assert len(str(socket_path(tmp_path, longest))) == SOCKET_PATH_BYTES
    with pytest.raises(RunError, match="may have 103 bytes"):
        socket_path(tmp_path, longest + "x")


class Wire:
    """Both ends of a way: what is fed comes out, what is written is kept."""

    def __init__(self, *chunks: bytes, breaks: bool = False) -> None:
        self.chunks, self.taken, self.breaks = list(chunks), b"", breaks
        self.closed = asyncio.Event()

    async def read(self, n: int = -1, /) -> bytes:
        if not self.chunks:
            if not self.breaks:
                await self.closed.wait()
            return b""
        return self.chunks.pop(0)

    def write(self, data: bytes, /) -> None:
        self.taken += data

    async def drain(self) -> None:
        if self.breaks and not self.chunks:
            raise BrokenPipeError


def test_bytes_go_both_ways_until_either_side_ends() -> None:
    async def meet() -> tuple[bytes, bytes]:
        one, other = Wire(b"a", b"b"), Wire(b"1", b"2")
        other.closed.set()
        await bridge((one, one), (other, other))
        return one.taken, other.taken

    assert asyncio.run(meet()) == (b"12", b"ab")


def test_a_reader_that_went_away_ends_a_way_quietly() -> None:
    async def one_way() -> int:
        return await carry(Wire(b"abc", breaks=True), Wire(breaks=True))

    assert asyncio.run(one_way()) == 0


def test_the_environment_says_which_ssh_and_what_is_called_over_there() -> None:
    assert ssh_from({}) == Ssh()
    said = {"MLXD_SSH": "ssh -F 'lab config'", "MLXD_REMOTE_COMMAND": "/opt/mlx"}
    assert ssh_from(said, operate=True) == Ssh(("ssh", "-F", "lab config"), "/opt/mlx", operate=True)
    assert ssh_from(said, "~/bin/mlx").remote_command == "~/bin/mlx"


def test_only_a_question_that_a_person_can_answer_is_asked_before_the_screen() -> None:
    def said(words: str, code: int = 255) -> bool:
        return has_question(SshTarget("lab"), Ssh(("sh", "-c", f"echo '{words}' >&2; exit {code}")))

    assert said("Host key verification failed.")
    assert said("kim@lab: Permission denied (publickey,password).")
    assert not said("kim@lab: Permission denied (publickey).")
    assert not said("Host key verification failed.", 2)
    assert not has_question(SshTarget("lab"), Ssh(("no-such-ssh",)))


def test_ssh_may_ask_in_the_terminal_and_says_whether_it_came_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_in_terminal(SshTarget("lab"), Ssh(("true",)))
    assert not ask_in_terminal(SshTarget("lab"), Ssh(("sh", "-c", "exit 255")))
    assert not ask_in_terminal(SshTarget("lab"), Ssh(("no-such-ssh",)))
    assert "ssh lab has a question:" in capsys.readouterr().err
