"""What a run tells a tracker of experiments. The journal (events.jsonl) is the record; everything here reads from it.

history            facts -> rows, tables and artifacts of a tracker. Pure
progress           how far the tracker has come, so that a resumed run goes on where it was
weights_and_biases the `wandb` module behind one small class; only this file imports it, and only when it is used
"""
