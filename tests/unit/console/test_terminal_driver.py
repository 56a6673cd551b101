"""The driver's input thread, over a pipe in the terminal's place."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from textual.events import Key
from textual.message import Message

from console.app import ConsoleApp
from console.client.targets import Targets
from console.state.terminal import Terminal
from console.terminal import HUNG_UP, TerminalDriver
from tests.support.waiting import until

HANG_SECONDS = 60.0


@contextmanager
def driver_over_a_pipe() -> Iterator[TerminalDriver]:
    driver = TerminalDriver(ConsoleApp(Targets([]), Terminal()))
    driver.fileno, typing = os.pipe()
    try:
        yield driver
    finally:
        driver.close()
        for end in (driver.fileno, typing):
            os.close(end)


def test_an_input_thread_that_is_woken_before_it_is_told_to_end_ends_all_the_same() -> None:
    async def ended() -> bool:
        with driver_over_a_pipe() as driver:
            thread = threading.Thread(target=driver.run_input_thread, daemon=True)
            thread.start()
            os.write(driver._wake_writer, b".")
            thread.join(HANG_SECONDS)
            return not thread.is_alive()

    assert asyncio.run(ended())


def test_a_waking_that_nobody_needed_does_not_end_the_next_input_thread() -> None:
    async def is_awake() -> bool:
        with driver_over_a_pipe() as driver:
            driver.disable_input()
            return bool(select.select([driver._wake_reader], [], [], 0)[0])

    assert not asyncio.run(is_awake())


class Heard(TerminalDriver):
    """Keeps what was typed, and ends when it is asked to leave."""

    def __init__(self, app: ConsoleApp) -> None:
        super().__init__(app)
        self.keys: list[str] = []

    def process_message(self, message: Message) -> None:
        if isinstance(message, Key):
            self.keys.append(message.key)

    def _leave(self) -> None:
        super()._leave()
        self.exit_event.set()


def test_keys_are_read_until_the_terminal_is_gone_and_a_lone_escape_is_a_key() -> None:
    async def typed() -> tuple[list[str], bool, int | None]:
        driver = Heard(ConsoleApp(Targets([]), Terminal()))
        driver.fileno, typing = os.pipe()
        thread = threading.Thread(target=driver.run_input_thread, daemon=True)
        thread.start()
        os.write(typing, b"q\x1b")
        heard = partial(until, lambda: len(driver.keys) == 2, within_seconds=HANG_SECONDS, what=lambda: "no key")
        await asyncio.to_thread(heard)
        os.close(typing)
        await asyncio.to_thread(thread.join, HANG_SECONDS)
        driver.close()
        os.close(driver.fileno)
        return driver.keys, not thread.is_alive(), driver._app.return_code

    assert asyncio.run(typed()) == (["q", "escape"], True, HUNG_UP)
