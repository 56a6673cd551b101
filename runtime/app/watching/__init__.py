"""What a monitor process has for its readers. Pure, but for `sampling`.

board     the newest row of every place and the newest events, with the version in which each came
reader    one console: what it wants, what it has, and so what its next frame holds
wire      pictures and curves as messages
sampling  gauges of this machine
"""
