"""Where everything is put together: the tree (`tree`, one literal), the run, and the entries of its processes."""
