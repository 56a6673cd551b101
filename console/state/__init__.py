"""What a console shows, decided without a terminal: pure functions of the picture, the keys and the time.

spans     lines of toned text: the only thing that widgets draw
keymap    the one table of keys; footer, help, palette and documentation come from it (one file a screen in keys/)
tabs      the screens that there are, and their numbers
terminal  what the terminal can show, from its environment
heading   title line and tab line
figures   numbers, durations and foreign texts as a person reads them (notable: facts as sentences)
"""
