"""Keys of the Hosts screen."""

from console.state.keys.row import Key

KEYS = (
    Key("enter", "attach", "Attach", "show the chosen target on every screen", priority=10),
    Key("A", "add", "Add", "one more: ssh://[user@]host[:port][/run], a run's folder, or unix:SOCKET", priority=20),
    Key("c", "check", "Check", "the way to the chosen target, step by step, with what mends it", priority=30),
    Key("D", "detach", "Detach", "stop listening to the chosen target; its run does not notice", priority=40),
    Key("y", "copy_fix", "Copy fix", "copy the command that mends the way", priority=50),
)  # fmt: skip
