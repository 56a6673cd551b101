"""Actors: plain async functions with an address, a bounded mailbox and a supervisor; and child processes as actors.

    writer: Address[WriteCheckpoint] = Address("writer")                    # the slot; its Ref may be handed out now

    async def write(ctx: Context[WriteCheckpoint]) -> None:                 # the body
        ctx.ready()
        async for order in ctx.inbox:                                       # ends when asked to stop, after draining
            order.reply.send(await store(order.step))

    children = (ChildSpec("writer", write, address=writer),                 # see runtime.supervision
                ChildSpec("worker-0", ProcessActor(ProcessSpec(argv, log_path), hooks), Restart.TRANSIENT))
    path = await writer.ref.ask(lambda reply: WriteCheckpoint(7, reply), within=30)      # ActorDown at once if it dies

Child side: started through `runtime.launch`, which arms the tether; then
`async with attached(Pipes.of(args), {"rank": "0"}) as parent`.
"""

from runtime.actors.actor import ActorFn, Context
from runtime.actors.child import Parent, Pipes, attached
from runtime.actors.exit import Exit, FatalExit, ProcessExit, root_cause
from runtime.actors.frames import Beat, Fact, Frame, FrameDecoder, FrameError, Hello, Order, Report, encode
from runtime.actors.mailbox import LossyMailbox, Mailbox
from runtime.actors.process import FrameHooks, ProcessActor, ProcessSpec, Source
from runtime.actors.ref import Address, Down, Ref, Reply

__all__ = [
    "ActorFn",
    "Context",
    "Address",
    "Ref",
    "Reply",
    "Down",
    "Mailbox",
    "LossyMailbox",
    "ProcessActor",
    "ProcessSpec",
    "FrameHooks",
    "Source",
    "Exit",
    "ProcessExit",
    "FatalExit",
    "root_cause",
    "attached",
    "Parent",
    "Pipes",
    "Frame",
    "Hello",
    "Beat",
    "Fact",
    "Report",
    "Order",
    "FrameDecoder",
    "FrameError",
    "encode",
]
