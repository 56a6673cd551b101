"""The screens: each one composes widgets, lays the picture out for them, and posts intents."""
