"""Keys of the Overview."""

from console.state.keys.row import Key

KEYS = (
    Key("r", "restart", "Restart", "restart the chosen actor of the tree", priority=10, acts=True),
    Key("K", "kill", "Kill", "kill the process of the chosen actor at once", priority=15, acts=True),
    Key("a", "acknowledge", "Ack", "mark the chosen alarm as seen", priority=20, acts=True),
    Key("p", "pause", "Pause", "pause the run at the next step, or let it go on", priority=25, acts=True),
    Key("C", "checkpoint", "Checkpoint", "write a checkpoint now", acts=True),
    Key("X", "stop", "Stop", "stop the run after a checkpoint", acts=True),
    Key("A", "add_worker", "Add worker", "one worker more on the run's machine", acts=True),
    Key("D", "remove_worker", "Remove worker", "the chosen worker of the tree leaves for good", acts=True),
    Key("L", "logs", "Logs", "the log of the chosen node", 40),
    Key("y", "copy_fix", "Copy fix", "copy the command that mends the chosen alarm", priority=30),
)  # fmt: skip
