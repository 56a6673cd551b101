"""What a record's prompt asks for that a program can check: the two columns of IFEval's own files.

    {..., "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
          "kwargs": [{}, {"num_words": 50, "relation": "at least"}]}

They may stand in a record of any format; records without them ask for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.data.records import Instructions, Malformed

IDS, ARGUMENTS = "instruction_id_list", "kwargs"


def instructions_of(record: Mapping[str, Any]) -> Instructions:
    """The instructions of a record; none where it has no `instruction_id_list`.

    Raises Malformed when the columns do not fit each other.
    """
    ids = record.get(IDS)
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise Malformed(f"column {IDS} is not a list of texts")
    arguments = record.get(ARGUMENTS)
    if arguments is None:
        arguments = [{}] * len(ids)
    if not isinstance(arguments, list) or len(arguments) != len(ids):
        raise Malformed(f"column {ARGUMENTS} is not a list of as many objects as {IDS} has names ({len(ids)})")
    given = [{} if each is None else each for each in arguments]
    if not all(isinstance(each, dict) for each in given):
        raise Malformed(f"column {ARGUMENTS} holds something else than objects")
    return tuple(zip(ids, given, strict=True))
