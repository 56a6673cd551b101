"""What a person touches: the commands (`console.cli`) and the terminal app. Never imports trio, mlx or wandb."""
