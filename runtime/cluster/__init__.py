"""Who takes part in a step, and who may commit it: the coordinator and the worker's session with it.

`core` decides (pure, `feed(event, now) -> actions`), `coordinator` acts (a thin service on `runtime.rpc`), `session` is
the worker's end of the same stream, `wire` turns `messages` into protobuf and back.
"""
