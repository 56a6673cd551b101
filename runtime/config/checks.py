"""Rules across fields: pure functions of a configuration whose single values are right, in one list at the end.

Each rule yields a finding at the value that is easiest to change; `load` moves it to a value that somebody wrote.
"""

from __future__ import annotations

from functools import partial

from runtime.config import cluster_checks, data_checks, parallel_checks
from runtime.config.parallel_checks import OF_ANSWERS
from runtime.config.places import Finding, Path
from runtime.config.rule import Findings, Rule, at, rule
from runtime.config.schema import Config
from runtime.config.spelling import edit_distance

LOWER_IS_BETTER = ("loss", "perplexity")
HIGHER_IS_BETTER = ("token_accuracy", *OF_ANSWERS)
SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "PASSWORD")


def length_is_said_once(config: Config) -> Findings:
    """Exactly one of steps and epochs says how long the training is."""
    steps, epochs = config.train.steps, config.train.epochs
    if steps > 0 and epochs > 0:
        fact = f"train.steps ({steps}) and train.epochs ({epochs:g}) both say how long to train"
        yield Finding(at("train.epochs"), fact, "keep one of them and set the other to 0")
    if steps == 0 and epochs == 0:
        yield Finding(at("train.epochs"), "train.steps and train.epochs are both 0: nothing to do", "set one of them")


def warmup_is_said_once(config: Config) -> Findings:
    """The warmup is counted in steps or as a fraction."""
    if config.optim.warmup_steps > 0 and config.optim.warmup_ratio > 0:
        fact = "optim.warmup_steps and optim.warmup_ratio both say how long to warm up"
        yield Finding(at("optim.warmup_ratio"), fact, "keep one of them")


def warmup_ends_before_training(config: Config) -> Findings:
    """A warmup as long as the training never reaches the learning rate."""
    warmup, steps = config.optim.warmup_steps, config.train.steps
    if 0 < steps <= warmup:
        fact = f"optim.warmup_steps ({warmup}) is not less than train.steps ({steps}): optim.lr is never used"
        yield Finding(at("optim.warmup_steps"), fact, "shorten the warmup")


def loss_scale_needs_float16(config: Config) -> Findings:
    """Only float16 gradients underflow; elsewhere a fixed scale would be ignored."""
    scale, dtype = config.optim.loss_scale, config.model.dtype
    if scale != "dynamic" and dtype != "float16":
        fact = f'optim.loss_scale ({scale:g}) counts only with model.dtype = "float16", not "{dtype}"'
        yield Finding(at("optim.loss_scale"), fact, "leave it out")


def micro_batch_fits_global_batch(config: Config) -> Findings:
    """A device never holds more samples at once than a step has."""
    micro, whole = config.train.micro_batch_size, config.train.global_batch_size
    if micro > whole:
        fact = f"train.micro_batch_size ({micro}) is larger than train.global_batch_size ({whole})"
        yield Finding(
            at("train.micro_batch_size"), fact, "lower train.micro_batch_size or raise train.global_batch_size"
        )


def token_batch_holds_a_sample(config: Config) -> Findings:
    """The longest sample must fit into a batch of tokens."""
    tokens, longest = config.data.tokens_per_batch, config.data.max_length
    if 0 < tokens < longest:
        fact = f"data.tokens_per_batch ({tokens}) is smaller than one sample of data.max_length ({longest})"
        yield Finding(at("data.tokens_per_batch"), fact, f"set data.tokens_per_batch to {longest} or more")


def weights_need_weighted_mixing(config: Config) -> Findings:
    """A weight that nothing reads is a surprise later."""
    if config.data.mixing == "weighted":
        return
    for position, source in enumerate(config.data.sources):
        if source.weight != 1.0:
            path: Path = ("data", "source", position, "weight")
            fact = f'the weight {source.weight:g} counts only with data.mixing = "weighted"'
            yield Finding(path, fact, "set data.mixing, or leave the weight out")


def sources_differ(config: Config) -> Findings:
    """The same source twice trains on each of its samples twice, and lets held-out samples be trained on."""
    sources = config.data.sources
    for position, source in enumerate(sources):
        if source in sources[:position]:
            path: Path = ("data", "source", position)
            yield Finding(
                path, f'is the same as another source ("{source.path}")', "remove it, or train for more epochs"
            )


def held_out_data_is_said_once(config: Config) -> Findings:
    """Held-out data is a file or a fraction of the training data."""
    held_out = config.data.evaluation
    if held_out.path and held_out.eval_fraction > 0:
        fact = "data.eval.path and data.eval.eval_fraction both say what is held out"
        yield Finding(at("data.eval.eval_fraction"), fact, "keep one of them")


def held_out_data_is_not_trained_on(config: Config) -> Findings:
    """The loss on training data says nothing about unseen data."""
    path = config.data.evaluation.path
    if path and any(source.path == path for source in config.data.sources):
        fact = f'"{path}" is trained on as well: its loss would say nothing about unseen data'
        yield Finding(at("data.eval.path"), fact, "name another file, or set data.eval.eval_fraction instead")


def evaluation_has_data(config: Config) -> Findings:
    """Evaluating every N steps needs something to evaluate on."""
    if config.data.evaluation.path or config.data.evaluation.eval_fraction > 0:
        return
    for key, every in (
        ("eval.every", config.evaluation.every),
        ("eval.generate.every", config.evaluation.generate.every),
    ):
        if every > 0:
            fact = f"{key} is {every}, but no data is held out"
            yield Finding(at(key), fact, "set data.eval.path or data.eval.eval_fraction")


def heads_divide_the_width(config: Config) -> Findings:
    """Attention cuts the hidden width into equal heads, unless the architecture is told a head's size."""
    scratch = config.model.scratch
    if config.model.path or "head_dim" in (scratch.model_extra or {}):
        return
    width, heads = scratch.hidden_size, scratch.num_attention_heads
    if width % heads:
        fact = f"model.scratch.hidden_size ({width}) is not a multiple of model.scratch.num_attention_heads ({heads})"
        yield Finding(at("model.scratch.hidden_size"), fact, f"a width of {max(1, round(width / heads)) * heads} works")


def key_heads_divide_the_heads(config: Config) -> Findings:
    """Grouped attention gives each key/value head the same number of query heads."""
    scratch = config.model.scratch
    shared = (scratch.model_extra or {}).get("num_key_value_heads")
    heads = scratch.num_attention_heads
    if config.model.path or not isinstance(shared, int):
        return
    if shared < 1 or heads % shared:
        fact = f"num_key_value_heads ({shared}) does not divide num_attention_heads ({heads})"
        divisors = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        yield Finding(at("model.scratch.num_key_value_heads"), fact, f"one of {divisors} does")


def further_model_keys_are_no_misspellings(config: Config) -> Findings:
    """[model.scratch] passes on what it does not know, so a slip of a known key has to be found by its spelling."""
    known = type(config.model.scratch).model_fields
    for name in config.model.scratch.model_extra or {}:
        near = min(known, key=partial(edit_distance, name))
        if edit_distance(name, near) <= 2:
            yield Finding(("model", "scratch", name), "unknown key", f"did you mean model.scratch.{near}?")


def quantised_base_needs_an_adapter(config: Config) -> Findings:
    """Quantised weights have no gradient."""
    bits = config.model.quantize_bits
    if bits and config.model.adapter.type == "full":
        fact = f'a base in {bits} bits cannot be trained itself (model.adapter.type = "full")'
        yield Finding(at("model.quantize_bits"), fact, 'set model.adapter.type to "lora" or "dora"')


def enough_workers_to_begin(config: Config) -> Findings:
    """A run that starts below min_workers waits for ever."""
    least, workers = config.supervision.min_workers, config.parallel.workers
    workers += len(config.cluster.hosts) if workers else 0
    if 0 < workers < least:
        others = " and one on each of cluster.hosts" if config.cluster.hosts else ""
        fact = f"supervision.min_workers ({least}) is more than parallel.workers{others} ({workers})"
        yield Finding(at("supervision.min_workers"), fact, f"set supervision.min_workers to {workers} or less")


def one_kind_of_delayed_update(config: Config) -> Findings:
    """Local steps and stale gradients are two answers to one question."""
    if config.sync.every > 1 and config.sync.staleness > 0:
        fact = f"sync.every ({config.sync.every}) and sync.staleness ({config.sync.staleness}) exclude each other"
        yield Finding(at("sync.staleness"), fact, "set sync.every to 1 or sync.staleness to 0")


def codecs_need_our_own_lane(config: Config) -> Findings:
    """MLX's own engines sum plain arrays; compressed ones travel through gRPC."""
    backend = config.sync.backend
    if backend in {"auto", "grpc"}:
        return
    fix = 'set sync.backend to "grpc"'
    if config.sync.compression != "none":
        yield Finding(at("sync.compression"), f'sync.backend = "{backend}" sends no compressed gradients', fix)
    if config.sync.wire_dtype == "int8":
        yield Finding(at("sync.wire_dtype"), f'sync.backend = "{backend}" sends no 8 bit gradients', fix)


def supervisor_can_give_up(config: Config) -> Findings:
    """Restarts so far apart that the window never holds enough of them go on for ever."""
    policy = config.supervision
    total, wait = 0.0, policy.backoff_s
    for _ in range(policy.intensity):
        wait = min(policy.backoff_cap_s, wait)
        total += wait
        wait *= policy.backoff_factor
    if total >= policy.period_s:
        waits = f"{policy.intensity} restarts wait {total:g} s in all, the window is {policy.period_s:g} s"
        fix = f"raise supervision.period_s above {total:g} or lower supervision.intensity"
        yield Finding(at("supervision.period_s"), f"this policy never gives up: {waits}", fix)


def backoff_starts_below_its_cap(config: Config) -> Findings:
    """A first wait above the cap is one of the two mistyped."""
    first, cap = config.supervision.backoff_s, config.supervision.backoff_cap_s
    if first > cap:
        fact = f"supervision.backoff_s ({first:g}) is more than supervision.backoff_cap_s ({cap:g})"
        yield Finding(at("supervision.backoff_s"), fact, "raise the cap or shorten the first wait")


def best_means_better(config: Config) -> Findings:
    """Keeping the highest loss, or the lowest share of right answers, keeps the worst."""
    metric, mode = config.checkpoint.metric, config.checkpoint.mode
    name = _measured(metric)
    if name in (LOWER_IS_BETTER if mode == "max" else HIGHER_IS_BETTER):
        other = "min" if mode == "max" else "max"
        fact = f'checkpoint.mode = "{mode}" would keep the worst by checkpoint.metric ("{metric}")'
        yield Finding(at("checkpoint.mode"), fact, f'set checkpoint.mode to "{other}"')


def best_is_measured(config: Config) -> Findings:
    """A metric of answers is known only where it was asked for."""
    metric, asked = config.checkpoint.metric, config.evaluation.generate.metrics
    name = _measured(metric)
    if name in OF_ANSWERS and name not in asked:
        fact = f'checkpoint.metric = "{metric}" is not measured: eval.generate.metrics does not name it'
        yield Finding(at("checkpoint.metric"), fact, f'add "{name}" to eval.generate.metrics')


def _measured(metric: str) -> str:
    """`rougeL` of `eval/rougeL`, `instruction_following` of `eval/instruction_following/prompt_loose`."""
    return metric.partition("/")[2].partition("/")[0] or metric


def generation_measures_something(config: Config) -> Findings:
    """Answers that nobody compares are written for nothing."""
    generate = config.evaluation.generate
    if generate.every > 0 and not generate.metrics:
        fix = 'name one, as ["exact_match"], or set eval.generate.every to 0'
        yield Finding(at("eval.generate.metrics"), "is empty, but eval.generate.every asks for answers", fix)


def no_secret_is_written_down(config: Config) -> Findings:
    """The resolved configuration is saved in the run's folder, and with every checkpoint."""
    for name in config.cluster.env:
        if name.upper().endswith(SECRET_ENDINGS):
            fact = "looks like a secret, and this file is copied into the run's folder"
            yield Finding(("cluster", "env", name), fact, "set it in the environment of each machine")


RULES: tuple[Rule, ...] = (
    rule(length_is_said_once, "train.epochs", "train.steps"),
    rule(warmup_is_said_once, "optim.warmup_ratio", "optim.warmup_steps"),
    rule(warmup_ends_before_training, "optim.warmup_steps", "train.steps"),
    rule(loss_scale_needs_float16, "optim.loss_scale", "model.dtype"),
    rule(micro_batch_fits_global_batch, "train.micro_batch_size", "train.global_batch_size"),
    rule(token_batch_holds_a_sample, "data.tokens_per_batch", "data.max_length"),
    *data_checks.RULES,
    rule(weights_need_weighted_mixing, "data.source.weight", "data.mixing"),
    rule(sources_differ, "data.source"),
    rule(held_out_data_is_said_once, "data.eval.eval_fraction", "data.eval.path"),
    rule(held_out_data_is_not_trained_on, "data.eval.path", "data.source.path"),
    rule(evaluation_has_data, "eval.every", "eval.generate.every", "data.eval.path", "data.eval.eval_fraction"),
    rule(heads_divide_the_width, "model.scratch.hidden_size", "model.scratch.num_attention_heads", "model.path"),
    rule(key_heads_divide_the_heads, "model.scratch.num_key_value_heads", "model.scratch.num_attention_heads"),
    rule(further_model_keys_are_no_misspellings),
    rule(quantised_base_needs_an_adapter, "model.quantize_bits", "model.adapter.type"),
    *parallel_checks.RULES,
    rule(enough_workers_to_begin, "supervision.min_workers", "parallel.workers", "cluster.hosts"),
    rule(one_kind_of_delayed_update, "sync.staleness", "sync.every"),
    rule(codecs_need_our_own_lane, "sync.backend", "sync.compression", "sync.wire_dtype"),
    rule(
        supervisor_can_give_up,
        "supervision.period_s",
        "supervision.intensity",
        "supervision.backoff_s",
        "supervision.backoff_factor",
        "supervision.backoff_cap_s",
    ),
    rule(backoff_starts_below_its_cap, "supervision.backoff_s", "supervision.backoff_cap_s"),
    rule(best_means_better, "checkpoint.mode", "checkpoint.metric"),
    rule(best_is_measured, "checkpoint.metric", "eval.generate.metrics"),
    rule(generation_measures_something, "eval.generate.metrics", "eval.generate.every"),
    rule(no_secret_is_written_down, "cluster.env"),
    *cluster_checks.RULES,
)
