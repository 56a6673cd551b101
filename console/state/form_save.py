"""The text of a file with edits in it: comments, order and spelling of everything else stay as they are."""

from __future__ import annotations

import itertools
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from console.state.form import Form, digest_of, raw_of
from runtime.config.places import Path as Place
from runtime.config.places import parse_dotted


class NotSaved(Exception):
    """Nothing was written; its text is one sentence with the next move."""


def edited_text(form: Form) -> str:
    """The file's text with the form's edits. Raises NotSaved where it would not mean what the form shows."""
    if not form.edits:
        return form.text
    import tomlkit  # 90 ms that nobody pays who does not save
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(form.text)
        for name, value in form.edits:
            path = parse_dotted(name)
            if path is None:
                raise NotSaved(f"{name} is no key")
            if value is None:
                _remove(document, path)
            else:
                _write(document, path, _value(value))
        text = tomlkit.dumps(document)
        meant, written = raw_of(form), tomllib.loads(text)
    except (TOMLKitError, ValueError, KeyError, TypeError) as error:
        raise NotSaved(f"the edits do not fit into {form.path.name} ({error}); edit it as text") from None
    if _without_empty(written) != _without_empty(meant):
        raise NotSaved(f"{form.path.name} would mean something else than this form shows; edit it as text")
    return text


def save(form: Form) -> str:
    """Write the form's edits into its file, whole or not at all, and return the new text.

    Raises NotSaved where the file has changed since it was loaded, where it cannot be written, or as above.
    """
    text = edited_text(form)
    replace_file(form.path, text, form.digest)
    return text


def replace_file(path: Path, text: str, digest: str) -> None:
    """Put `text` in place of a file whose text has `digest`: beside it first, synced, then renamed. Raises NotSaved."""
    try:
        there = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        if digest_of(there) != digest:
            raise NotSaved(f"{path.name} was changed by somebody else since it was loaded; open it again")
        place = path.resolve()
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, place.stat().st_mode & 0o777)
            os.replace(name, place)
        except BaseException:
            os.unlink(name)
            raise
        _sync(place.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise NotSaved(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _value(text: str) -> Any:
    """With the spelling that was typed: 2e-4 stays 2e-4."""
    import tomlkit

    try:
        return tomlkit.value(text)
    except ValueError:
        return tomlkit.item(text)


def _write(around: Any, path: Place, value: Any) -> None:
    import tomlkit

    for part, following in itertools.pairwise(path):
        if isinstance(part, int):
            around = around[part]
        else:
            if part not in around:
                around[part] = tomlkit.aot() if isinstance(following, int) else tomlkit.table()
                if isinstance(following, int):
                    around[part].append(tomlkit.table())
            around = around[part]
    last = path[-1]
    if last in around and hasattr(around[last], "trivia"):
        value.trivia.indent = around[last].trivia.indent
        value.trivia.comment_ws = around[last].trivia.comment_ws
        value.trivia.comment = around[last].trivia.comment
        value.trivia.trail = around[last].trivia.trail
    around[last] = value


def _remove(around: Any, path: Place) -> None:
    for part in path[:-1]:
        around = around[part]
    del around[path[-1]]


def _without_empty(raw: Any) -> Any:
    """Tables that hold nothing mean nothing."""
    if isinstance(raw, dict):
        inner = {name: _without_empty(value) for name, value in raw.items()}
        return {name: value for name, value in inner.items() if value not in ({}, [{}])}
    return [_without_empty(value) for value in raw] if isinstance(raw, list) else raw
