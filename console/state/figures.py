"""Numbers, durations and foreign texts as a person reads them. Pure."""

from __future__ import annotations

import math
import unicodedata


def duration(seconds: float | None) -> str:
    """`850 ms`, `42 s`, `3m20s`, `1h05m`, `2d04h`; `?` where it is not known."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def clock(seconds: float) -> str:
    """Time since the start, as wide for each line of a log: `00:42`, `1:02:03`."""
    whole = max(0, int(seconds)) if math.isfinite(seconds) else 0
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"


def count(number: float | None) -> str:
    """`850`, `12.3k`, `1.2M`, `4.0G`; `?` where it is not known."""
    if number is None or not math.isfinite(number):
        return "?"
    return _scaled(number, ("", "k", "M", "G"))


def size(size_bytes: int) -> str:
    """`512 B`, `4.1 kB`, `12.3 MB`, `1.0 GB`: powers of ten."""
    return _scaled(size_bytes, (" B", " kB", " MB", " GB"))


def _scaled(number: float, units: tuple[str, ...]) -> str:
    """The number by the largest power of 1000 that leaves something before the point; whole where it is not scaled."""
    power = 0
    while power < len(units) - 1 and abs(number) >= 999.5 * 1000**power:
        power += 1
    return f"{number / 1000**power:.{1 if power else 0}f}{units[power]}"


def some(number: int, noun: str, plural: str = "") -> str:
    """`1 restart`, `2 restarts`, `3 crashes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def harmless(text: str) -> str:
    """The text with everything that could steer a terminal, newlines included, replaced by spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else character for character in text
    )


def clean(text: str) -> str:
    """The text harmless, on one line, with single spaces."""
    return " ".join(harmless(text).split())


def shortened(text: str, width: int) -> str:
    """The text cleaned and cut to `width` columns at most, with `...` where something is missing."""
    text = clean(text)
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += columns(character)
        if used > width - 3:
            break
        kept.append(character)
    return ("".join(kept) + "...")[: max(0, width)]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes (UAX 11: wide and full-width characters take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def padded(text: str, width: int) -> str:
    """The text shortened or filled with spaces to exactly `width` columns."""
    text = shortened(text, width)
    return text + " " * (width - columns(text))


def encodable(text: str, encoding: str) -> str:
    """The text with what `encoding` cannot say replaced by question marks."""
    try:
        return text.encode(encoding, errors="replace").decode(encoding)
    except LookupError:  # an encoding that Python does not know
        return text.encode("ascii", errors="replace").decode("ascii")
