"""One file for each screen: its rows of the table of keys (console.state.keymap puts them together)."""
