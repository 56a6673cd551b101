"""Data: from records in files to the micro-batches of a step.

    files -> formats -> records           what stands in files, in one form whatever its format
    chat, plain -> encoder -> dataset     what a sample is, and which of its tokens are learnt
    order, mixing -> plan -> batches -> feeder    which samples a step takes, in which rows, ready ahead of time

Everything between a cursor and its batch is a pure function of (seed, cursor, global batch size, lengths): never of the
number of workers, of time, or of what was fetched ahead.
"""
