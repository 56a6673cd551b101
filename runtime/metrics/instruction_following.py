"""Instruction following: whether answers do what their prompts ask, where a program can tell. IFEval's four numbers.

prompt       the share of prompts whose instructions are all followed        strict   the answer as it stands
instruction  the share of instructions that are followed                     loose    any of eight shortenings of it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from runtime.metrics.instruction_checks import CHECKS, Arguments, follows
from runtime.metrics.sums import Sums

Instructions: TypeAlias = Sequence[tuple[str, Arguments]]
"""(IFEval's id, its arguments) of each instruction in a prompt."""


def statistics(answer: str, instructions: Instructions) -> Sums:
    """(prompts, strict, loose; instructions, strict, loose; instructions that no check of ours can judge).

    A prompt of which nothing can be judged is no prompt here. Raises TypeError or ValueError for arguments that are
    not an instruction's own.
    """
    known = [(name, arguments) for name, arguments in instructions if name in CHECKS]
    unjudged = float(len(instructions) - len(known))
    if not known:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, unjudged
    texts = [answer, *shortenings(answer)]
    strict = [follows(answer, *one) for one in known]
    loose = [any(follows(text, *one) for text in texts) for one in known]
    prompt = (1.0, float(all(strict)), float(all(loose)))
    return *prompt, float(len(known)), float(sum(strict)), float(sum(loose)), unjudged


def score(sums: Sums) -> Mapping[str, float]:
    """The four shares, each 0 .. 1; `""` is the strict one of prompts. Empty where no prompt could be judged.

    `unjudged` counts instructions that have no check, if there are any.
    """
    prompts, prompts_strict, prompts_loose, every, strict, loose, unjudged = sums
    found: dict[str, float] = {}
    if prompts:
        found = {
            "": prompts_strict / prompts,
            "prompt_loose": prompts_loose / prompts,
            "instruction_strict": strict / every,
            "instruction_loose": loose / every,
        }
    return found | ({"unjudged": unjudged} if unjudged else {})


def shortenings(answer: str) -> Iterator[str]:
    """The answer without asterisks, without its first line (`Sure, here it is:`), its last one, both; seven of them."""
    lines = answer.split("\n")
    kept = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    yield from kept
    for text in (answer, *kept):
        yield text.replace("*", "")
