"""The commands `mlx-distributed`, `mlx-train` and `mlx-serve`. Each imports what it needs when it is chosen."""
