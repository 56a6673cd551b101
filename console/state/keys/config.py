"""Keys of the Config screen."""

from console.state.keys.row import Key

KEYS = (
    Key("ctrl+r", "launch", "Launch", "save, start the run, and follow it; it lives on without the console", 5),
    Key("enter", "edit", "Edit", "change the chosen key; a choice or a switch is chosen from a list", priority=10),
    Key("ctrl+s", "save", "Save", "write the changes into the file; its comments stay", priority=20),
    Key("v", "samples", "Samples", "what would be trained on, the learnt part marked", priority=30),
    Key("f", "data", "Data file", "choose a file of samples from those around", priority=40),
    Key("p", "plan", "Plan", "make the plan again now"),
    Key("D", "against", "Diff", "differences to the file, to the defaults, or to an earlier run"),
    Key("d", "default", "Default", "leave the chosen key out: its default counts"),
    Key("u", "undo", "Undo", "take back the newest change"),
    Key("t", "text", "TOML", "edit the file's text, with the same checks"),
    Key("m", "set_only", "Set keys", "only the keys that are set, or all of them"),
    Key("n", "begin", "Begin", "another configuration: a preset, or a file of this folder"),
)  # fmt: skip
