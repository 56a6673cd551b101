"""Child programs for the tests of process actors: `python -P -m tests.support.actor_child MODE ...`."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import trio

from runtime import tether
from runtime.actors import Hello, Order, Parent, Pipes, attached
from runtime.actors.spare import EQUIPPED


async def obey(parent: Parent) -> None:
    """Echo every order as a report until told to stop."""
    parent.beat(1, "ready")
    async for order in parent.orders:
        parent.report(order.kind, order.body)
    await parent.fact_now({"kind": "Stopped", "asked": parent.stopping.is_set()})


async def flood(parent: Parent) -> None:
    """Print far more than a pipe holds, on both streams, then obey."""
    for line in range(4000):
        print(f"out {line} " + "x" * 100)
        sys.stderr.write(f"err {line} " + "y" * 100 + "\n")
    await obey(parent)


async def crash(parent: Parent) -> None:
    """Fail on the first order."""
    async for order in parent.orders:
        raise ValueError(f"cannot {order.kind}")


async def fact_then_die(parent: Parent) -> None:
    """Send facts with write-through, then be killed in the next instruction."""
    for n in range(200):
        await parent.fact_now({"n": n, "pad": "z" * 1000})
    os.kill(os.getpid(), signal.SIGKILL)


def start_sleeper() -> int:
    """A process that does not end by itself; returns its pid."""
    return subprocess.Popen(["/bin/sleep", "1000"]).pid


async def grandchild(parent: Parent) -> None:
    """Start a process that never ends, tell its pid, then obey."""
    parent.report("pid", {"pid": start_sleeper()})
    await obey(parent)
    await parent.flush()
    os._exit(0)  # without waiting for the sleeper, as a crash would


async def hold_gil(parent: Parent) -> None:
    """Enter a C call that keeps the GIL; nothing of Python runs in this process any more."""
    parent.report("pid", {"pid": start_sleeper()})
    await parent.flush()
    ctypes.PyDLL(None).sleep(1000)


async def ignore_sigterm(parent: Parent) -> None:
    """Hear neither the order to stop nor SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent.report("deaf", {})
    await trio.sleep_forever()


async def ignore_orders(parent: Parent) -> None:
    """Never read an order."""
    parent.report("busy", {})
    await trio.sleep_forever()


async def exit_with(parent: Parent) -> None:
    """Exit with the code of the first order."""
    order: Order = await parent.orders.receive()
    print("last words")
    sys.exit(order.body["code"])


async def babble(parent: Parent) -> None:
    """Write what is no frame."""
    os.write(parent._outbox._fd, b"\xff\xff\xff\xffnonsense")
    await trio.sleep_forever()


async def greet_twice(parent: Parent) -> None:
    """Say Hello again."""
    parent._outbox.put(Hello(os.getpid(), {}))
    await trio.sleep_forever()


async def give_orders(parent: Parent) -> None:
    """Send what only a parent sends."""
    parent._outbox.put(Order("obey", {}))
    await trio.sleep_forever()


async def spare(parent: Parent) -> None:
    """Be equipped, then obey."""
    parent.report(EQUIPPED, {})
    await obey(parent)


ATTACHED: dict[str, Callable[[Parent], Awaitable[None]]] = {
    body.__name__: body
    for body in (
        obey, flood, crash, fact_then_die, grandchild, hold_gil, ignore_sigterm, ignore_orders, exit_with,
        babble, greet_twice, give_orders, spare,
    )
}  # fmt: skip


def main() -> None:
    """Run the mode named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--watch", choices=("kernel", "keeper"), default=tether.DEFAULT_WATCH)
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    if args.mode == "die_at_once":
        sys.exit("no such model")
    if args.mode == "mute":
        signal.alarm(1000)  # in case that nobody ends it
        signal.pause()
    tether.arm(args.watch)

    async def work() -> None:
        async with attached(Pipes.of(args), {"mode": args.mode}) as parent:
            await ATTACHED[args.mode](parent)

    trio.run(work)


if __name__ == "__main__":
    main()
