"""Textual's driver for Unix, with an end: a terminal that goes away ends the program at once, at no cost.

Textual 8.2.8 reads on for ever when its input has ended (a dropped SSH connection, SIGHUP ignored): its input thread
spins on a descriptor that is always readable. Here the end of the input is told to the app, and if that cannot leave
within a second (its output may be blocked for good), the process ends.
"""

from __future__ import annotations

import os
import select
import signal
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

KEY_SECONDS = 0.1
"""How often an escape that waits for the rest of its sequence is looked after, ..."""
_LOOKS = 5
"""... so many times after anything was read."""
LAST_SECONDS = 1.0
HUNG_UP = 129
"""Exit code of a program whose terminal has gone: 128 + SIGHUP."""
_READ_BYTES = 4096


class TerminalDriver(LinuxDriver):
    """Reads keys until the terminal ends; sleeps while nobody presses one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wake_reader, self._wake_writer = os.pipe()
        self._loop.add_signal_handler(signal.SIGTERM, self._leave)  # and the terminal is left in order

    def disable_input(self) -> None:
        """The input thread ends now."""
        os.write(self._wake_writer, b".")
        super().disable_input()
        if select.select([self._wake_reader], [], [], 0)[0]:  # there was none; the next one shall not end by it
            os.read(self._wake_reader, _READ_BYTES)

    def close(self) -> None:
        """Nothing is written or read any more."""
        super().close()
        for end in (self._wake_reader, self._wake_writer):
            with suppress(OSError):
                os.close(end)

    def run_input_thread(self) -> None:
        """What the input thread does."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        looks = 0
        while not self.exit_event.is_set():
            ready, _, _ = select.select([self.fileno, self._wake_reader], [], [], KEY_SECONDS if looks else None)
            if self._wake_reader in ready:
                os.read(self._wake_reader, _READ_BYTES)
                break  # exit_event may not be set yet, and nobody would wake it a second time
            if self.fileno in ready:
                data = self._read()
                if not data:
                    self._ended()
                    return
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
            looks = _LOOKS if self.fileno in ready else max(0, looks - 1)
        with suppress(EOFError, ParseError):
            for _ in parser.feed(""):
                pass

    def _leave(self) -> None:
        self._app.exit(return_code=HUNG_UP)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, _READ_BYTES)
        except OSError:  # EIO: the other side of the terminal is closed
            return b""

    def _ended(self) -> None:
        """Ask the app to leave, and leave without it if it cannot."""
        self._loop.call_soon_threadsafe(self._leave)
        if not self.exit_event.wait(LAST_SECONDS):
            os._exit(HUNG_UP)
