"""What a run will need, before a device is touched: bytes per device, the cut into stages, the schedule.

memory (exact: parameters, gradients, optimizer), activations (modelled), stages (pipeline), plan (all of it, in words)

Nothing here imports mlx: shapes come from `models.blueprint`, which asks a child process.
"""
