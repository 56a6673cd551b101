"""Writes the quickstart's data: short instruction and answer pairs that a small byte-level model learns in a minute.

    python configs/data/make_quickstart.py [FOLDER]        (default: the folder of this file)

Standard library only, and no random generator: every family lists all of its pairs, and a hash of (seed, pair) decides
which are taken, which of them are held out, and in which order they stand. The same files come out on every machine and
Python. No pair of the held-out file has an instruction and input that training sees.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path

SEED = "quickstart-1"
TRAIN_PER_FAMILY = 390
HELD_OUT_PER_FAMILY = 20

Pair = tuple[str, str, str]
"""instruction, input, output"""


def words(text: str) -> list[str]:
    return text.split()


NAMES = words("""
    Ann Bob Cleo Dan Eva Finn Gus Hana Ida Jon Kim Leo Mia Ned Olga Pia Quin Ray Sue Tom Uma Vic Wes Zoe
""")
CITIES = words("""
    Rome Oslo Paris Lima Cairo Delhi Quito Seoul Tokyo Vienna Bern Dublin Riga Turin Accra Havana
""")
DAYS = words("""
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday
""")
WORDS = words("""
    ant bat bear bee bird boat book box bus cake car cat chair cloud cow cup deer desk dog door duck egg farm
    fig fire flag frog game gate goat hand hat hen hill home horse ice jam kite lake lamp leaf lemon lion map
    milk moon mouse nut oak owl pan pear pen pig plum pond rain ring river road rock roof room rope rose sand
    seed ship shoe snow sock song soup star stone sun table tent tiger tree wall wind wolf wood yard zebra
""")
ANIMALS = words("""
    ant bat bear bee bird cat cow deer dog duck frog goat hen horse lion mouse owl pig tiger wolf zebra
""")
OPPOSITES = words("""
    hot cold big small old new fast slow wet dry full empty hard soft high low long short loud quiet dark bright
    rich poor thick thin heavy light open shut clean dirty early late
""")
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Peru": "Lima",
    "Egypt": "Cairo",
    "India": "Delhi",
    "Latvia": "Riga",
    "Cuba": "Havana",
    "Ghana": "Accra",
    "Spain": "Madrid",
    "Greece": "Athens",
    "Kenya": "Nairobi",
    "Chile": "Santiago",
    "Ireland": "Dublin",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Canada": "Ottawa",
}
UNITS = {("km", "m"): "000", ("kg", "g"): "000", ("m", "cm"): "00", ("cm", "mm"): "0"}


def sums() -> Iterator[Pair]:
    for a, b in product(range(1, 50), range(1, 10)):
        yield "Add.", f"{a} + {b}", str(a + b)


def comparisons() -> Iterator[Pair]:
    for a, b in product(range(10, 100), range(10, 100)):
        if a // 10 != b // 10:
            yield "Is it more?", f"{a} than {b}", "yes" if a > b else "no"


def sorting() -> Iterator[Pair]:
    for first, second in permutations(WORDS, 2):
        if first[0] != second[0]:
            yield "Sort.", f"{first} {second}", " ".join(sorted((first, second)))


def counting() -> Iterator[Pair]:
    for letters in product("abc", repeat=5):
        for wanted in "abc":
            yield f"Count the letter {wanted}.", "".join(letters), str(letters.count(wanted))


def units() -> Iterator[Pair]:
    for ((big, small), zeros), amount in product(UNITS.items(), range(1, 120)):
        yield f"Convert to {small}.", f"{amount} {big}", f"{amount}{zeros} {small}"


def weekdays() -> Iterator[Pair]:
    shifts = (("after", 1), ("before", -1))
    for name, (position, day), (word, shift) in product(NAMES + CITIES, enumerate(DAYS), shifts):
        yield f"The day {word}?", f"{name}: {day}", DAYS[(position + shift) % 7]


def fields() -> Iterator[Pair]:
    for name, age, city in product(NAMES, range(11, 60), CITIES):
        record = f"{name}, {age}, {city}"
        for field, value in (("name", name), ("age", str(age)), ("city", city)):
            yield f"Give the {field}.", record, value


def upper_case() -> Iterator[Pair]:
    for word, number in product(WORDS, range(1, 10)):
        yield "Upper case.", f"{number} {word}", f"{number} {word.upper()}"


def first_letters() -> Iterator[Pair]:
    for first, second in permutations(WORDS, 2):
        yield "First letters?", f"{first} {second}", f"{first[0]} {second[0]}"


def reversing() -> Iterator[Pair]:
    for letters in permutations("abcdefghijklmnopqrstuvwxyz", 2):
        yield "Reverse.", "".join(letters), "".join(reversed(letters))


def parity() -> Iterator[Pair]:
    for number in range(1000):
        yield "Odd or even?", str(number), "odd" if number % 2 else "even"


def plurals() -> Iterator[Pair]:
    for word, number in product(WORDS, range(2, 10)):
        ending = "es" if word.endswith(("x", "s")) else "s"
        if word not in {"mouse", "leaf", "deer", "wolf"}:
            yield "Plural.", f"{number} {word}", f"{number} {word}{ending}"


def opposites() -> Iterator[Pair]:
    both = dict(zip(OPPOSITES[::2], OPPOSITES[1::2], strict=True))
    both |= {opposite: word for word, opposite in both.items()}
    for (word, opposite), thing in product(both.items(), WORDS):
        yield "Opposite?", f"a {word} {thing}", opposite


def next_letters() -> Iterator[Pair]:
    for name, start in product(NAMES, range(23)):
        letters = [chr(ord("a") + start + at) for at in range(4)]
        yield "Next letter?", f"{name}: {' '.join(letters[:3])}", letters[3]


def capitals() -> Iterator[Pair]:
    for name, (country, capital) in product(NAMES, CAPITALS.items()):
        yield "Which capital?", f"{name} is in {country}", capital


def kinds() -> Iterator[Pair]:
    for name, word in product(NAMES, WORDS):
        yield "Animal or thing?", f"{name} sees a {word}", "animal" if word in ANIMALS else "thing"


FAMILIES: tuple[Callable[[], Iterator[Pair]], ...] = (
    sums,
    comparisons,
    sorting,
    counting,
    units,
    weekdays,
    fields,
    upper_case,
    first_letters,
    reversing,
    parity,
    plurals,
    opposites,
    next_letters,
    capitals,
    kinds,
)


def draw(pair: Pair, purpose: str) -> bytes:
    """A number that stands for chance: the same for the same pair for ever."""
    return hashlib.sha256("\0".join((SEED, purpose, *pair)).encode()).digest()


def split_family(family: Callable[[], Iterator[Pair]]) -> tuple[list[Pair], list[Pair]]:
    """(training, held out) pairs of one family; no question is in both."""
    pairs = sorted({pair[:2]: pair for pair in family()}.values(), key=lambda pair: draw(pair, "taken"))
    held_out = pairs[:HELD_OUT_PER_FAMILY]
    return pairs[HELD_OUT_PER_FAMILY : HELD_OUT_PER_FAMILY + TRAIN_PER_FAMILY], held_out


def fewer_words(count: int) -> tuple[str, dict[str, object]]:
    return "length_constraints:number_words", {"relation": "less than", "num_words": count}


def asked(pair: Pair) -> list[tuple[str, dict[str, object]]]:
    """What the question asks for that a program can check, in IFEval's words: (id, arguments)."""
    instruction, given, _ = pair
    if instruction == "Upper case.":
        return [("change_case:english_capital", {})]
    if instruction == "Sort.":
        return [("keywords:existence", {"keywords": given.split()}), fewer_words(3)]
    if instruction.startswith("Convert to "):
        return [("startend:end_checker", {"end_phrase": instruction[11:-1]})]
    if instruction.startswith("The day "):
        return [("startend:end_checker", {"end_phrase": "day"}), fewer_words(2)]
    if instruction in {"Opposite?", "Animal or thing?", "Odd or even?"}:
        return [("change_case:english_lowercase", {}), fewer_words(2)]
    return []


def lines(pairs: list[Pair], *, checked: bool = False) -> str:
    """The pairs of all families, mixed, as JSONL; `checked`: with what a program can check of the answers."""
    mixed = sorted(pairs, key=lambda pair: draw(pair, "order"))
    written = []
    for pair in mixed:
        record: dict[str, object] = dict(zip(("instruction", "input", "output"), pair, strict=True))
        if checked and (instructions := asked(pair)):
            record["instruction_id_list"] = [name for name, _ in instructions]
            record["kwargs"] = [arguments for _, arguments in instructions]
        written.append(json.dumps(record) + "\n")
    return "".join(written)


def write(folder: Path) -> tuple[Path, Path]:
    """Write both files and return their paths: (training, held out)."""
    train: list[Pair] = []
    held_out: list[Pair] = []
    for family in FAMILIES:
        learnt, judged = split_family(family)
        train += learnt
        held_out += judged
    paths = folder / "quickstart-train.jsonl", folder / "quickstart-heldout.jsonl"
    paths[0].write_bytes(lines(train).encode())
    paths[1].write_bytes(lines(held_out, checked=True).encode())
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent):
        print(written)
