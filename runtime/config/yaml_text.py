"""A YAML text as the same raw values and lines that a TOML text gives.

Only what TOML also has: mappings, lists, texts, numbers, true and false, by YAML 1.2's core rules. So `off` and `no`
are texts and not false, `1e-4` is a number, a key that stands twice is an error, and so is a value that is missing.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from runtime.config.places import Path, dotted

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
MOST_VALUES = 100_000
"""More than any configuration has: a text that stands for more repeats itself through aliases."""


class YamlError(Exception):
    """What is wrong, at which line (from 1), and the likely fix."""

    def __init__(self, line: int, fact: str, fix: str = "") -> None:
        super().__init__(fact)
        self.line, self.fact, self.fix = line, fact, fix


def read_yaml(text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The values of a document and the line of each; both empty for an empty one. Raises YamlError."""
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from None
    except yaml.YAMLError as error:  # a control character
        raise YamlError(1, f"is not YAML ({error})".replace("\n", " ")) from None
    if root is None:
        return {}, {}
    if not isinstance(root, yaml.MappingNode):
        raise YamlError(root.start_mark.line + 1, "is no list of `key: value`", "begin with a table such as `train:`")
    reading = _Reading()
    return reading.mapping(root, ()), reading.lines


class _Reading:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._values = 0
        self._open: set[int] = set()

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(line, "has a key that is no text")
            inner = (*path, key.value)
            if key.value in found:
                raise YamlError(line, f"{dotted(inner)} is already there", "keep one of the two")
            self.lines[inner] = line
            found[key.value] = self._value(value, inner)
        return found

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._values += 1
        line = self.lines[path]  # not the node's: an alias stands elsewhere than what it names
        if id(node) in self._open or self._values > MOST_VALUES:
            raise YamlError(line, f"{dotted(path)} repeats itself without end", "write the values out")
        if node.tag not in _PLAIN:
            raise YamlError(line, f"{dotted(path)} has the tag {node.tag}", "leave the tag out")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, path, line)
        self._open.add(id(node))
        try:
            return self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        finally:
            self._open.discard(id(node))

    def _list(self, node: yaml.Node, path: Path) -> list[Any]:
        found = []
        for position, element in enumerate(node.value):
            inner = (*path, position)
            self.lines[inner] = element.start_mark.line + 1
            found.append(self._value(element, inner))
        return found


def _scalar(node: yaml.ScalarNode, path: Path, line: int) -> str | int | float | bool:
    text: str = node.value
    if node.style is not None:  # in quotes, or a block
        return text
    if text in _NULL:
        fix = "leave the key out and it takes its default"
        raise YamlError(line, f"{dotted(path)} has no value", fix)
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan") if _SPECIAL.fullmatch(text) else text)
    return text


def _syntax(error: yaml.MarkedYAMLError, text: str) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line = min(mark.line + 1 if mark else 1, max(1, len(text.rstrip("\n").split("\n"))))
    what = error.problem or error.context or "cannot be read"
    fix = "indent with spaces, not with tabs" if "\\t" in what or "tab" in what else ""
    return YamlError(line, f"is not YAML ({what})", fix)
