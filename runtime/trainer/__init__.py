"""The trainer: one device, one MLX thread, and the life of a step (`step`, about ten lines; read it first)."""
