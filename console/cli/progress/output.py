"""A text stream that never raises: it may be closed, broken, or unable to say what we say."""

from __future__ import annotations

from typing import TextIO

from console.state.figures import encodable


class Output:
    """Writes to `stream` and flushes, until the stream breaks; then it is quiet for ever."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._broken = False

    def write(self, text: str) -> None:
        """Write the text; characters that the stream cannot encode become question marks."""
        if self._broken:
            return
        try:
            self._stream.write(encodable(text, self._encoding))
            self._stream.flush()
        except (OSError, ValueError):  # the reader has gone (`| head`), or the stream is closed
            self._broken = True
