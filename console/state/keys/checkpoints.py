"""Keys of Checkpoints."""

from console.state.keys.row import Key

KEYS = (
    Key("r", "resume", "Resume", "train on from the chosen checkpoint: start it here, or copy the command", 10),
    Key("f", "fork", "Fork", "the same, as a run of another name", 20),
    Key("v", "verify", "Verify", "compare every byte with the manifests, now", 30),
    Key("x", "export", "Export", "write it as a folder that mlx_lm.load opens", 40, acts=True),
    Key("n", "pin", "Pin", "keep it whatever the rule of the run says, or no longer", 50, acts=True),
    Key("delete,D", "delete", "Delete", "delete it, once its name is typed; newest and pinned ones stay", acts=True),
)  # fmt: skip
