"""The actor runtime: supervision, the step protocol, collectives, training. Runs under trio.

Never imports textual or `console`.

Layers, top to bottom; a room imports only what stands below it (import-linter checks it):

    app
    trainer
    data | collectives | optim | pipeline | checkpoint | metrics | tracking
    cluster | models
    rpc
    supervision
    actors
    launch
    flow : events : config : ids : errors : tether
"""
