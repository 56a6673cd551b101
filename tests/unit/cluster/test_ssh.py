"""The words with which another machine is called."""

from __future__ import annotations

import pytest

from runtime.cluster.ssh import by_hand, node_command, own_address, parted


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("studio.local", "studio.local", 0),
        ("kim@mini.local:2222", "kim@mini.local", 2222),
        ("[fe80::1]", "fe80::1", 0),
        ("kim@[fe80::1]:22", "kim@fe80::1", 22),
    ],
)
def test_a_host_is_a_name_and_a_port(host: str, name: str, port: int) -> None:
    assert parted(host) == (name, port)


def test_the_agent_is_called_without_a_terminal_and_the_host_is_never_an_option() -> None:
    words = node_command(("ssh", "-F", "lab"), "kim@mini:2222", "/opt/bin/mlx-distributed")
    assert words[:4] == ("ssh", "-F", "lab", "-T")
    assert words[-5:] == ("-p", "2222", "--", "kim@mini", "/opt/bin/mlx-distributed node")
    assert "BatchMode=yes" in words
    assert not any("StrictHostKeyChecking" in word for word in words)
    assert node_command(("ssh",), "mini", "x")[-3:] == ("--", "mini", "x node")


def test_what_a_person_types() -> None:
    assert by_hand(("ssh",), "kim@mini:2222", "true") == "ssh -p 2222 kim@mini true"
    assert by_hand(("ssh",), "mini", "mlx-distributed", "node") == "ssh mini mlx-distributed node"


def test_the_address_of_this_machine_is_the_one_that_somebody_came_in_by() -> None:
    assert own_address({"SSH_CONNECTION": "10.0.0.1 5000 10.0.0.2 22"}) == "10.0.0.2"
    assert own_address({"SSH_CONNECTION": "fd00::1 5000 fd00::2 22"}) == "[fd00::2]"
    assert own_address({}) == "127.0.0.1"
