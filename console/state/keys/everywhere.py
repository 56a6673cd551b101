"""Keys of every screen. The numbers of the screens are in console.state.tabs."""

from console.state.keys.row import Key

KEYS = (
    Key("slash", "filter", "Filter", "filter what this screen lists by a regular expression; ! in front inverts it"),
    Key("colon,ctrl+p", "palette", "Commands", "every command of this screen by name", priority=90),
    Key("space", "freeze", "Freeze", "hold the screen still; data go on flowing", priority=80),
    Key("left_square_bracket,right_square_bracket", "next_target", "Next run", "the next of several runs"),
    Key("shift+right,greater_than_sign", "later", "Later", "in a replay: on by a fiftieth of the run"),
    Key("shift+left,less_than_sign", "earlier", "Earlier", "in a replay: back by a fiftieth of the run"),
    Key("right_parenthesis", "next_fact", "Next fact", "in a replay: to the next thing that happened"),
    Key("left_parenthesis", "last_fact", "Last fact", "in a replay: to the thing that happened before"),
    Key("ctrl+t", "play", "Play", "in a replay: as a film of a minute, or stop it"),
    Key("t", "theme", "Theme", "dark, light, or the terminal's own colours"),
    Key("q,ctrl+q", "leave", "Quit", "leave the console; a run goes on", priority=95),
)
