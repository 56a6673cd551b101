"""The likely fix for a misspelt key, table or choice: other programs' words first, then the distance of spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from runtime.config.fields import all_keys, all_tables
from runtime.config.peers import CHOICES_OF_PEERS, KEYS_OF_PEERS, TABLES_OF_PEERS
from runtime.config.places import Key

MOST_SUGGESTIONS = 3
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.

    (Optimal string alignment: Damerau and Levenshtein, no letter edited twice.)
    """
    two_above: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        row = [i + 1]
        for j, target in enumerate(other):
            cost = min(above[j + 1] + 1, row[j] + 1, above[j] + (letter != target))
            if i and j and letter == other[j - 1] and one[i - 1] == target:
                cost = min(cost, two_above[j - 1] + 1)
            row.append(cost)
        two_above, above = above, row
    return above[-1]


def fewest_edits(one: str, other: str) -> int:
    """No more than `edit_distance`, and soon found: letters that one of the texts has and the other has not."""
    missing = sum(max(0, one.count(letter) - other.count(letter)) for letter in set(one))
    return max(missing, missing + len(other) - len(one))


def likely_keys(unknown: Key) -> tuple[Key, ...]:
    """The keys that were probably meant, best first, at most three; () when nothing is near."""
    name = _plain(unknown[-1])
    exact = [key for key in all_keys() if key[-1] == name]
    if exact:
        return _nearest_places(unknown, exact)
    if name in KEYS_OF_PEERS:
        return _split(KEYS_OF_PEERS[name])
    return _by_spelling(unknown, _key_spellings(unknown))


def likely_tables(unknown: Key) -> tuple[Key, ...]:
    """The tables that were probably meant, best first, at most three; () when nothing is near."""
    name = _plain(unknown[-1])
    exact = [key for key in all_tables() if key and key[-1] == name]
    if exact:
        return _nearest_places(unknown, exact)
    if name in TABLES_OF_PEERS:
        return _split(TABLES_OF_PEERS[name])
    return _by_spelling(unknown, ((key[-1], key) for key in all_tables() if key))


def likely_choice(text: str, choices: Sequence[str]) -> str:
    """The choice that was probably meant, or ""."""
    plain = text.strip().lower().replace("-", "_")
    for choice in choices:
        if choice.lower().replace("-", "_") == plain:
            return choice
    for choice in CHOICES_OF_PEERS.get(plain, ()):
        if choice in choices:
            return choice
    near = [(edit_distance(plain, choice.lower()), choice) for choice in choices]
    distance, choice = min(near, default=(0, ""))
    return choice if distance <= _tolerance(choice) else ""


def _plain(name: str) -> str:
    return _CAMEL.sub("_", name).lower().replace("-", "_")


def _split(names: Iterable[str]) -> tuple[Key, ...]:
    return tuple(tuple(name.split(".")) for name in names)


def _tolerance(text: str) -> int:
    return max(1, len(text) // 3)


def _nearest_places(unknown: Key, candidates: Sequence[Key]) -> tuple[Key, ...]:
    written = ".".join(unknown)
    return tuple(sorted(candidates, key=lambda key: edit_distance(written, ".".join(key)))[:MOST_SUGGESTIONS])


def _key_spellings(unknown: Key) -> Iterator[tuple[str, Key]]:
    """Everything that a key may be called: its name, siblings first, then what peers call it."""
    yield from sorted(((key[-1], key) for key in all_keys()), key=lambda pair: pair[1][:-1] != unknown[:-1])
    for name, keys in KEYS_OF_PEERS.items():
        for key in _split(keys):
            yield name, key


def _by_spelling(unknown: Key, spellings: Iterable[tuple[str, Key]]) -> tuple[Key, ...]:
    """The nearest by name or by whole dotted key; among equals those of the same table, else all of them."""
    name, written = _plain(unknown[-1]), _plain(".".join(unknown))
    best: dict[Key, float] = {}
    for spelling, key in spellings:
        whole = ".".join(key)
        for mine, theirs in ((name, spelling), (written, whole)):
            tolerance = _tolerance(min(mine, theirs, key=len))
            if fewest_edits(mine, theirs) > tolerance:
                continue
            distance = edit_distance(mine, theirs)
            if distance <= tolerance:
                relative = distance / len(theirs)
                best[key] = min(relative, best.get(key, relative))
    least = min(best.values(), default=0.0)
    nearest = [key for key, relative in best.items() if relative == least]
    siblings = [key for key in nearest if key[:-1] == unknown[:-1]]
    return tuple((siblings or nearest)[:MOST_SUGGESTIONS])
