"""What a widget wants, posted upwards: imperative, frozen in meaning, never an action itself.

intents   act on a run, copy a text, go to a screen, choose a target
"""
