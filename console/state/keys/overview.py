"""Keys of the Overview."""

from console.state.keys.row import Key

KEYS = (
    Key("L", "logs", "Logs", "the log of the chosen node", 20),
    Key("y", "copy_fix", "Copy fix", "copy the command that mends the chosen alarm", priority=30),
)  # fmt: skip
