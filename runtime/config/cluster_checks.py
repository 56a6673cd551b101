"""Rules across fields about [cluster]: what other machines need of a run."""

from __future__ import annotations

from runtime.config.cluster import is_loopback
from runtime.config.places import Finding
from runtime.config.rule import Findings, Rule, at, rule
from runtime.config.schema import Config

_ANYWHERE = {"0.0.0.0", "::"}


def other_machines_reach_this_one(config: Config) -> Findings:
    """Workers elsewhere join the coordinator, and exchange gradients with the workers here."""
    cluster = config.cluster
    far = [host for host in cluster.hosts if not is_loopback(host.rpartition("@")[2])]
    address = cluster.listen.rpartition(":")[0].strip("[]")
    if far and (is_loopback(address) or address in _ANYWHERE):
        fact = f'is "{cluster.listen}", where {far[0]} cannot reach this machine'
        fix = 'name an address of this machine in your private network, e.g. "192.168.1.5:0"'
        yield Finding(at("cluster.listen"), fact, fix)


def one_machine_has_the_whole_state(config: Config) -> Findings:
    """Checkpoints are written by the workers of this machine, so each of them must hold everything."""
    if config.cluster.hosts and config.parallel.shard_optimizer:
        fact = "cannot be combined with cluster.hosts: this machine's workers write the checkpoints, and need it whole"
        yield Finding(at("parallel.shard_optimizer"), fact, "set it to false")
    if config.cluster.hosts and config.parallel.pipeline > 1:
        fact = "cannot be combined with cluster.hosts: the stages of a pipeline are on one machine, as yet"
        yield Finding(at("parallel.pipeline"), fact, "set it to 1")


RULES: tuple[Rule, ...] = (
    rule(other_machines_reach_this_one, "cluster.hosts", "cluster.listen"),
    rule(one_machine_has_the_whole_state, "cluster.hosts", "parallel.shard_optimizer", "parallel.pipeline"),
)
