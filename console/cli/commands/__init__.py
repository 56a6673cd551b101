"""One module per subcommand of `mlx-distributed`: HELP, add_arguments(parser), run(args) -> exit code."""
