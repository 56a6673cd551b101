"""Faults in real runs: scripts of them, the hand that commits them, and what the journal says about the recovery.

script     FaultScript().kill(rank=1, step=7).stop(rank=0, step=30), or a random one from a seed
injector   commits a script's faults in a running `mlx-distributed run`, each at its moment
recovery   injected faults + journal -> detection, next commit, whole again (pure)
ledger     journal + data order -> samples lost or doubled, steps done again (pure)
census     processes, file descriptors, threads and memory of a run
kills      python -m tests.chaos.kills    faults in workers and coordinator, against an undisturbed run
roots      python -m tests.chaos.roots    the root itself killed or interrupted, and the same command again
mixed      python -m tests.chaos.mixed    mixed faults, against a quiet run and against restarting everything
           (mixture: what befalls whom; hand: deals it; links, disk: how; ordeal: the runs; aftermath, goodput: figures)
checkpoints  python -m tests.chaos.checkpoints  flipped bits, writers killed at any byte, full disks (damage: the rest)
resumes    python -m tests.chaos.resumes  a run continued by 4, 3, 1 and 2 workers, against one worker's
soak       python -m tests.chaos.soak     hours of it: does anything grow (lives), does it become slower
"""
