"""What a run on several machines must say, and what it cannot be combined with."""

from __future__ import annotations

import pytest

from runtime.config import checks
from runtime.config.cluster import is_loopback
from runtime.config.cluster_checks import one_machine_has_the_whole_state, other_machines_reach_this_one
from tests.unit.config.test_checks import found, passes, refused_at

FAR = {"hosts": ["me@studio.local:2222"]}


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:7000", "[::1]:0", "0.0.0.0:0", "[::]:0"])
def test_other_machines_need_an_address_of_this_one(listen: str) -> None:
    rule = other_machines_reach_this_one
    assert refused_at(rule, cluster={**FAR, "listen": listen}) == "cluster.listen"
    assert passes(rule, cluster={"listen": listen})


@pytest.mark.parametrize("listen", ["192.168.1.5:0", "[fd00::5]:0", "here.local:7000"])
def test_an_address_that_others_reach_will_do(listen: str) -> None:
    assert passes(other_machines_reach_this_one, cluster={**FAR, "listen": listen})


def test_accounts_of_this_machine_reach_it_by_itself() -> None:
    assert passes(other_machines_reach_this_one, cluster={"hosts": ["kim@localhost", "127.0.0.1:2222", "[::1]:22"]})
    assert not is_loopback("studio.local")


def test_the_workers_of_this_machine_hold_the_whole_state() -> None:
    rule = one_machine_has_the_whole_state
    assert refused_at(rule, cluster=FAR, parallel={"shard_optimizer": True}) == "parallel.shard_optimizer"
    assert refused_at(rule, cluster=FAR, parallel={"pipeline": 2}) == "parallel.pipeline"
    assert passes(rule, cluster=FAR)
    assert passes(rule, parallel={"shard_optimizer": True, "pipeline": 2})


def test_workers_elsewhere_count_among_those_that_a_run_begins_with() -> None:
    rule, two = checks.enough_workers_to_begin, {"min_workers": 2}
    assert passes(rule, cluster=FAR, parallel={"workers": 1}, supervision=two)
    (finding,) = found(rule, {"cluster": FAR, "parallel": {"workers": 1}, "supervision": {"min_workers": 3}})
    assert finding.fact.endswith("is more than parallel.workers and one on each of cluster.hosts (2)")
