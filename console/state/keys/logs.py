"""Keys of Logs and events."""

from console.state.keys.row import Key

KEYS = (
    Key("slash", "filter", "Filter", "show lines that match a regular expression; ! in front: the others", 10),
    Key("f,G", "follow", "Follow", "go to the newest line and stay there; moving up stops that", 20),
    Key("n", "next_trouble", "Next trouble", "the next warning or error", 30),
    Key("N", "last_trouble", "Last trouble", "the warning or error before"),
    Key("l", "level", "Level", "debug, info, warning, error: this one and worse", 40),
    Key("s", "source", "Source", "one process after the other, then all", 50),
    Key("e", "events", "Events", "with the run's events, or the logs alone"),
    Key("m", "mark", "Mark", "a line across, at this moment"),
    Key("x", "clear", "Clear", "no filter"),
    Key("ctrl+s", "save", "Save", "what is shown, as a text file in this folder"),
)  # fmt: skip
