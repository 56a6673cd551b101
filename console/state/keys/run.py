"""Keys of the Run screen. + - 0, arrows and pages belong to the charts; what acts on the run is in the same table."""

from console.state.keys.row import Key

KEYS = (
    Key("enter", "single", "Zoom", "the chosen chart alone, or all of them again", priority=10),
    Key("l", "log", "Log", "logarithmic vertical axis for the chosen chart, or linear", priority=20),
    Key("s", "smooth", "Smooth", "more smoothing (0, 0.6, 0.9, 0.99); the values themselves stay, dim", 30),
    Key("S", "rough", "Rougher", "less smoothing"),
    Key("x", "axis", "X-axis", "by step, by trained tokens, or by time", priority=40),
    Key("c", "compare", "Compare", "an earlier run, dotted, and the difference to it; or none again", priority=50),
    Key("i", "inspect", "Inspect", "a cursor through all charts, moved by the arrows; the figures are those there", 60),
    Key("g", "grid", "Grid", "how many charts there are on a page"),
    Key("left,h", "back", "Left", "the chart before, or the cursor to the left"),
    Key("right", "ahead", "Right", "the next chart, or the cursor to the right"),
    Key("up,k", "above", "Up", "the chart above"),
    Key("down,j", "below", "Down", "the chart below"),
    Key("pagedown,full_stop", "page_on", "Next page", "further metrics"),
    Key("pageup,comma", "page_back", "Page before", "the metrics before"),
    Key("plus,equals_sign", "closer", "Closer", "half of the horizontal axis, around the cursor or at its end"),
    Key("minus", "wider", "Wider", "twice as much of the horizontal axis"),
    Key("p", "pause", "Pause", "pause the run at the next step, or let it go on", acts=True),
    Key("C", "checkpoint", "Checkpoint", "write a checkpoint now", acts=True),
    Key("X", "stop", "Stop", "stop the run after a checkpoint", acts=True),
    Key("0,escape", "anew", "Reset", "all of the axis, all of the charts, no cursor"),
)  # fmt: skip
