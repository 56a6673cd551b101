"""Widgets draw lines of toned text and post intents. None opens a channel, computes a rate, or asks the time."""
