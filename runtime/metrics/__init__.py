"""How good answers are, as sums that can be shared out over workers.

statistics(answer, reference) -> sums     on the worker that wrote the answer
merge(sums, sums, ...)        -> sums     numbers add up, whoever counted them and in whatever order
score(sums)                   -> number   once, over everything

exact_match, bleu, rouge, instruction_following (instruction_checks)   one module each, pure
scoring                                                                names of the configuration -> the modules
"""
