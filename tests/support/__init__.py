"""What several tests share: the repository as data, waiting for events, a run as a child process."""
