"""How a console knows a run: from its monitor while it lives, from its journal otherwise. asyncio; no trio, no mlx.

picture   what was heard so far, and how old it is (pure)
stream    one connection to a monitor, made again and again; goes on where it was
replay    any moment of a journal, forward and back
folder    the same picture from a run's folder alone: a run that is over, or that has no monitor
feeds     what keeps a picture up to date (targets: the runs that a console looks at, each with its feed)
wire      the two services as calls of grpc.aio
"""
