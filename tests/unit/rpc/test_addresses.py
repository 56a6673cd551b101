"""Where a server cannot listen, one sentence says why and what to do."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
import trio

from runtime.errors import RunError
from runtime.rpc import GrpcNetwork, LoopbackNetwork
from runtime.rpc.addresses import refusal, require_free, split
from tests.unit.rpc.services import Probe

AnyNetwork = GrpcNetwork | LoopbackNetwork


@pytest.mark.parametrize(
    ("address", "parts"),
    [("localhost:0", ("localhost", 0)), ("[::1]:443", ("::1", 443)), ("0.0.0.0:65535", ("0.0.0.0", 65535))],
)
def test_a_tcp_address_has_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split(address) == parts


@pytest.mark.parametrize("address", ["", "localhost", ":1", "localhost:http", "localhost:65536", "localhost:-1"])
def test_another_form_of_address_is_explained(address: str) -> None:
    with pytest.raises(RunError, match=r"not an address; write host:port \(port 0 = any free one\) or unix:/path"):
        split(address)


async def test_a_port_in_use_is_one_clear_sentence(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server:
        with pytest.raises(RunError) as caught:
            async with probe.serve(network, server.address):
                pass
        async with network.connect(server.address, name="client") as channel:
            assert await channel.unary("/test.Probe/Upper", b"unharmed", bytes) == b"UNHARMED"
    assert str(caught.value) == (
        f"{server.address} is in use by another process: stop it, or choose another address (port 0 = any free one)"
    )


async def test_a_unix_socket_serves_and_a_second_server_on_it_is_refused(
    network: AnyNetwork, probe: Probe, socket_folder: Path
) -> None:
    address = f"unix:{socket_folder}/control"
    async with probe.serve(network, address) as server:
        assert server.address == address
        async with network.connect(address, name="client") as channel:
            assert await channel.unary("/test.Probe/Upper", b"local", bytes) == b"LOCAL"
            with pytest.raises(RunError, match="is in use by another process"):
                async with probe.serve(network, address):
                    pass
            assert await channel.unary("/test.Probe/Upper", b"still", bytes) == b"STILL"


async def test_a_stale_unix_socket_is_taken_over(probe: Probe, socket_folder: Path) -> None:
    path = socket_folder / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with GrpcNetwork.open() as network, probe.serve(network, f"unix:{path}") as server:
        async with network.connect(server.address, name="client") as channel:
            assert await channel.unary("/test.Probe/Upper", b"new", bytes) == b"NEW"


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("unix:/no/such/folder/socket", "the folder /no/such/folder does not exist: create it or choose another"),
        ("unix:/tmp/" + "x" * 100, "a unix socket's path may have 103 bytes: choose a shorter folder"),
        ("no.such.host.invalid:0", "the host is not known here: check its spelling, or use an IP address"),
        ("192.0.2.1:0", "cannot listen there: Cannot assign requested address; choose another address"),
    ],
)
async def test_an_impossible_address_is_explained(probe: Probe, listen: str, sentence: str) -> None:
    async with GrpcNetwork.open() as network:
        with pytest.raises(RunError) as caught:
            async with probe.serve(network, listen):
                pass
    if "192.0.2.1" not in listen:  # its reason is the system's own sentence
        assert str(caught.value) == f"{listen}: {sentence}"
    assert str(caught.value).startswith(f"{listen}: ")


def test_a_socket_that_is_no_server_does_not_hold_an_address(socket_folder: Path) -> None:
    path = socket_folder / "file"
    path.write_text("not a socket")
    require_free(f"unix:{path}")
    assert str(refusal(f"unix:{path}", RuntimeError())).startswith(f"unix:{path} is in use")


def test_the_librarys_own_reason_is_told_when_the_address_is_good(socket_folder: Path) -> None:
    listen = f"unix:{socket_folder}/free"
    assert str(refusal(listen, RuntimeError("odd"))) == f"{listen}: cannot listen there: odd; choose another address"
    assert "odd" in str(refusal("127.0.0.1:0", RuntimeError("odd")))


async def test_a_failed_start_leaves_nothing_behind(probe: Probe) -> None:
    async with GrpcNetwork.open() as network, probe.serve(network) as server:
        for _ in range(3):
            with pytest.raises(RunError):
                async with probe.serve(network, server.address):
                    pass
        with trio.fail_after(60):
            async with network.connect(server.address, name="client") as channel:
                assert await channel.unary("/test.Probe/Upper", b"x", bytes) == b"X"


async def test_a_unix_socket_is_gone_after_its_server(probe: Probe, socket_folder: Path) -> None:
    path = socket_folder / "control"
    async with GrpcNetwork.open() as network:
        async with probe.serve(network, f"unix:{path}"):
            assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()
