"""The virtual cluster: real protocol code, pretended devices, one process, a virtual clock, and faults by seed.

history   what will happen, as data: a pure function of a seed
engine    a device whose state is a hash, so that a wrong sum, a lost sample or a rollback cannot hide
plane     the data plane: sums that need everybody, states for newcomers, links that break
disk      checkpoints that survive their writers
machine   worker and coordinator processes as tasks that can be killed at any await
cluster   the whole, with a stand-in for the root that restarts what died
ledger    the journal, and the referee: invariants I1 to I6
run       play(seed): one history from beginning to end
"""
