"""One test for each rule: what it refuses, and the neighbouring configuration that it lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.config import checks, cluster_checks, data_checks, parallel_checks
from runtime.config.checks import RULES
from runtime.config.fields import all_keys, all_tables
from runtime.config.places import Finding, dotted
from runtime.config.rule import Findings, Rule
from runtime.config.schema import Config
from runtime.optim.optimizer import RULES as OPTIMIZERS

FIRST: dict[str, Any] = {"path": "a.jsonl"}


def found(rule: Callable[[Config], Findings], raw: dict[str, Any]) -> list[Finding]:
    return list(rule(Config.model_validate(raw)))


def refused_at(rule: Callable[[Config], Findings], **raw: Any) -> str:
    (finding,) = found(rule, raw)
    assert finding.fact
    assert finding.fix
    return dotted(finding.path)


def passes(rule: Callable[[Config], Findings], **raw: Any) -> bool:
    return not found(rule, raw)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.find.__name__)
def test_no_rule_complains_about_the_defaults(rule: Rule) -> None:
    assert not list(rule.find(Config()))


def test_every_rule_says_which_keys_it_reads() -> None:
    known = {*all_keys(), *all_tables(), ("model", "scratch", "num_key_value_heads")}
    assert {key for rule in RULES for key in rule.keys} <= known


def test_every_rule_of_the_module_is_in_the_list() -> None:
    written = {
        name
        for module in (checks, cluster_checks, data_checks, parallel_checks)
        for name, thing in vars(module).items()
        if callable(thing) and getattr(thing, "__module__", "") == module.__name__
    }
    assert written - {"_measured"} == {rule.find.__name__ for rule in RULES}


def test_steps_and_epochs_exclude_each_other() -> None:
    rule = checks.length_is_said_once
    assert refused_at(rule, train={"steps": 10, "epochs": 2}) == "train.epochs"
    assert refused_at(rule, train={"epochs": 0}) == "train.epochs"
    assert passes(rule, train={"steps": 10})
    assert passes(rule, train={"steps": 0, "epochs": 0.5})


def test_warmup_is_counted_one_way() -> None:
    rule = checks.warmup_is_said_once
    assert refused_at(rule, optim={"warmup_steps": 10, "warmup_ratio": 0.1}) == "optim.warmup_ratio"
    assert passes(rule, optim={"warmup_steps": 10})
    assert passes(rule, optim={"warmup_ratio": 0.1})


def test_warmup_must_end_before_the_training_does() -> None:
    rule = checks.warmup_ends_before_training
    assert refused_at(rule, train={"steps": 10}, optim={"warmup_steps": 10}) == "optim.warmup_steps"
    assert passes(rule, train={"steps": 10}, optim={"warmup_steps": 9})
    assert passes(rule, train={"epochs": 1.0}, optim={"warmup_steps": 1000})


def test_rows_are_packed_only_where_their_samples_can_be_kept_apart() -> None:
    rule, stages = data_checks.packed_samples_are_kept_apart, data_checks.packed_rows_have_one_stage
    pack = {"batching": "pack"}
    assert refused_at(rule, data=pack, model={"scratch": {"architecture": "mamba2"}}) == "data.batching"
    assert passes(rule, data=pack)
    assert passes(rule, data=pack, model={"path": "org/name", "scratch": {"architecture": "mamba2"}})
    assert refused_at(stages, data=pack, parallel={"pipeline": 2}) == "data.batching"
    assert passes(stages, data=pack)


def test_what_is_streamed_is_neither_divided_nor_counted_in_epochs_of_unknown_length() -> None:
    divided, counted = data_checks.what_is_streamed_is_not_divided, data_checks.an_endless_stream_is_counted_in_steps
    split = {"eval": {"eval_fraction": 0.1}}
    assert refused_at(divided, data={"streaming": True, **split}) == "data.eval.eval_fraction"
    assert passes(divided, data=split)
    hub = {"streaming": True, "source": [{"path": "hf:org/name"}]}
    assert refused_at(counted, data=hub) == "train.epochs"
    assert passes(counted, data=hub, train={"steps": 10})
    assert passes(counted, data={"streaming": True})


def test_a_fixed_loss_scale_is_for_float16_only() -> None:
    rule = checks.loss_scale_needs_float16
    assert refused_at(rule, optim={"loss_scale": 1024}) == "optim.loss_scale"
    assert passes(rule, optim={"loss_scale": 1024}, model={"dtype": "float16"})


def test_a_micro_batch_is_no_larger_than_the_global_one() -> None:
    rule = checks.micro_batch_fits_global_batch
    assert refused_at(rule, train={"micro_batch_size": 33}) == "train.micro_batch_size"
    assert passes(rule, train={"micro_batch_size": 32})


def test_a_batch_of_tokens_holds_the_longest_sample() -> None:
    rule = checks.token_batch_holds_a_sample
    assert refused_at(rule, data={"tokens_per_batch": 2047}) == "data.tokens_per_batch"
    assert passes(rule, data={"tokens_per_batch": 2048})


def test_weights_need_weighted_mixing() -> None:
    rule = checks.weights_need_weighted_mixing
    sources = [FIRST, {"path": "b.jsonl", "weight": 2.0}]
    assert refused_at(rule, data={"source": sources}) == "data.source[1].weight"
    assert passes(rule, data={"source": sources, "mixing": "weighted"})


def test_the_same_source_stands_there_once() -> None:
    rule = checks.sources_differ
    assert refused_at(rule, data={"source": [FIRST, FIRST]}) == "data.source[1]"
    assert passes(rule, data={"source": [FIRST, {**FIRST, "columns": {"output": "other"}}]})


def test_held_out_data_is_a_file_or_a_fraction() -> None:
    rule = checks.held_out_data_is_said_once
    assert refused_at(rule, data={"eval": {"path": "h", "eval_fraction": 0.1}}) == "data.eval.eval_fraction"
    assert passes(rule, data={"eval": {"path": "h"}})


def test_held_out_data_is_not_trained_on() -> None:
    rule = checks.held_out_data_is_not_trained_on
    assert refused_at(rule, data={"source": [FIRST], "eval": FIRST}) == "data.eval.path"
    assert passes(rule, data={"source": [FIRST], "eval": {"path": "h"}})


def test_evaluation_every_few_steps_needs_data() -> None:
    rule = checks.evaluation_has_data
    assert refused_at(rule, eval={"every": 10}) == "eval.every"
    assert refused_at(rule, eval={"generate": {"every": 10}}) == "eval.generate.every"
    assert passes(rule, eval={"every": 10}, data={"eval": {"path": "h"}})
    assert passes(rule, eval={"every": 10}, data={"eval": {"eval_fraction": 0.1}})


def test_heads_divide_the_width() -> None:
    rule = checks.heads_divide_the_width
    odd = {"hidden_size": 130}
    assert refused_at(rule, model={"scratch": odd}) == "model.scratch.hidden_size"
    assert passes(rule, model={"scratch": {**odd, "head_dim": 32}})
    assert passes(rule, model={"scratch": odd, "path": "some/model"})


def test_a_width_below_the_number_of_heads_gets_a_hint_that_works() -> None:
    (finding,) = found(checks.heads_divide_the_width, {"model": {"scratch": {"hidden_size": 1}}})
    assert finding.fix == "a width of 4 works"


def test_key_heads_divide_the_heads() -> None:
    rule = checks.key_heads_divide_the_heads
    for wrong in (3, 0, 8):
        assert (
            refused_at(rule, model={"scratch": {"num_key_value_heads": wrong}}) == "model.scratch.num_key_value_heads"
        )
    assert passes(rule, model={"scratch": {"num_key_value_heads": 2}})
    assert passes(rule, model={"scratch": {"num_key_value_heads": "auto"}})
    assert passes(rule, model={"scratch": {"num_key_value_heads": 3}, "path": "some/model"})


def test_a_slip_of_a_models_key_is_not_passed_on() -> None:
    rule = checks.further_model_keys_are_no_misspellings
    assert refused_at(rule, model={"scratch": {"num_hidden_layer": 2}}) == "model.scratch.num_hidden_layer"
    further = ["num_key_value_heads", "vocab_size", "rope_theta", "head_dim", "moe_intermediate_size", "n_layer"]
    assert passes(rule, model={"scratch": dict.fromkeys(further, 2)})


def test_a_quantised_base_needs_an_adapter() -> None:
    rule = checks.quantised_base_needs_an_adapter
    assert refused_at(rule, model={"quantize_bits": 4}) == "model.quantize_bits"
    assert passes(rule, model={"quantize_bits": 4, "adapter": {"type": "lora"}})


def test_workers_are_data_times_pipeline() -> None:
    rule = parallel_checks.workers_are_data_times_pipeline
    assert refused_at(rule, parallel={"workers": 4, "data": 3}) == "parallel.data"
    assert refused_at(rule, parallel={"workers": 5, "pipeline": 2}) == "parallel.workers"
    assert passes(rule, parallel={"workers": 6, "data": 3, "pipeline": 2})
    assert passes(rule, parallel={"data": 3, "pipeline": 2})


def test_every_worker_has_a_shard() -> None:
    rule = parallel_checks.every_worker_has_a_shard
    assert refused_at(rule, parallel={"workers": 17}) == "parallel.logical_shards"
    assert passes(rule, parallel={"workers": 16})


def test_every_worker_has_a_sample() -> None:
    rule = parallel_checks.every_worker_has_a_sample
    assert refused_at(rule, parallel={"workers": 8}, train={"global_batch_size": 7}) == "train.global_batch_size"
    assert passes(rule, parallel={"workers": 8}, train={"global_batch_size": 8})


def test_a_split_names_every_stage_and_every_layer() -> None:
    rule = parallel_checks.split_covers_the_model
    assert refused_at(rule, parallel={"split": [2, 1, 1], "pipeline": 2}) == "parallel.split"
    assert refused_at(rule, parallel={"split": [2, 3], "pipeline": 2}) == "parallel.split"
    assert passes(rule, parallel={"split": [1, 3], "pipeline": 2})
    assert passes(rule, parallel={"split": [10, 18], "pipeline": 2}, model={"path": "some/model"})
    interleaved = {"split": [2, 2], "pipeline": 2, "schedule": "interleaved"}
    assert refused_at(rule, parallel=interleaved) == "parallel.split"


def test_every_stage_has_a_layer_and_an_interleaved_one_has_two() -> None:
    rule = parallel_checks.stages_have_layers
    assert refused_at(rule, parallel={"pipeline": 5}) == "parallel.pipeline"
    assert refused_at(rule, parallel={"pipeline": 3, "schedule": "interleaved"}) == "parallel.pipeline"
    assert passes(rule, parallel={"pipeline": 4})
    assert passes(rule, parallel={"pipeline": 2, "schedule": "interleaved"})
    assert passes(rule, parallel={"pipeline": 9}, model={"path": "some/model"})


def test_a_copy_of_each_slice_on_every_worker_is_refused_but_not_the_default_on_few() -> None:
    rule = parallel_checks.replicas_fit_the_workers
    three = {"workers": 3, "replicas": 3}
    assert refused_at(rule, parallel={**three, "shard_optimizer": True}) == "parallel.replicas"
    assert refused_at(rule, parallel={"workers": 1, "replicas": 3, "shard_optimizer": True}) == "parallel.replicas"
    assert passes(rule, parallel=three)
    assert passes(rule, parallel={"workers": 4, "replicas": 3, "shard_optimizer": True})
    assert all(passes(rule, parallel={"workers": workers, "shard_optimizer": True}) for workers in (0, 1, 2))


def test_only_elementwise_optimizers_are_cut_into_slices() -> None:
    rule = parallel_checks.sliced_state_is_elementwise
    for name, update in OPTIMIZERS.items():
        tables = {"optim": {"name": name}, "parallel": {"shard_optimizer": True, "workers": 4}}
        assert passes(rule, **tables) == update.elementwise
        assert update.elementwise or refused_at(rule, **tables) == "parallel.shard_optimizer"
    assert passes(rule, optim={"name": "muon"})


def test_a_run_can_begin_with_the_workers_that_it_has() -> None:
    rule = checks.enough_workers_to_begin
    assert refused_at(rule, parallel={"workers": 2}, supervision={"min_workers": 3}) == "supervision.min_workers"
    assert passes(rule, supervision={"min_workers": 3})


def test_local_steps_and_stale_gradients_exclude_each_other() -> None:
    rule = checks.one_kind_of_delayed_update
    assert refused_at(rule, sync={"every": 2, "staleness": 1}) == "sync.staleness"
    assert passes(rule, sync={"every": 2})
    assert passes(rule, sync={"staleness": 1})


def test_codecs_travel_through_grpc_only() -> None:
    rule = checks.codecs_need_our_own_lane
    assert refused_at(rule, sync={"backend": "nccl", "compression": "topk"}) == "sync.compression"
    assert refused_at(rule, sync={"backend": "ring", "wire_dtype": "int8"}) == "sync.wire_dtype"
    assert passes(rule, sync={"backend": "nccl", "wire_dtype": "bfloat16"})
    assert passes(rule, sync={"backend": "grpc", "compression": "topk", "wire_dtype": "int8"})


def test_a_policy_that_could_never_give_up_is_refused() -> None:
    rule = checks.supervisor_can_give_up
    exactly = {"intensity": 3, "backoff_s": 1.0, "backoff_factor": 2.0, "backoff_cap_s": 30.0}
    assert refused_at(rule, supervision={**exactly, "period_s": 7.0}) == "supervision.period_s"
    assert passes(rule, supervision={**exactly, "period_s": 7.1})
    assert passes(rule, supervision={"intensity": 0, "period_s": 0.001})


def test_the_cap_bounds_even_the_steepest_backoff() -> None:
    steep = {"intensity": 1000, "backoff_factor": 1e300, "backoff_cap_s": 1.0}
    assert passes(checks.supervisor_can_give_up, supervision={**steep, "period_s": 1001.0})
    assert not passes(checks.supervisor_can_give_up, supervision={**steep, "period_s": 999.0})


def test_the_first_wait_is_not_above_the_cap() -> None:
    rule = checks.backoff_starts_below_its_cap
    assert refused_at(rule, supervision={"backoff_s": 31}) == "supervision.backoff_s"
    assert passes(rule, supervision={"backoff_s": 30})


def test_the_best_checkpoint_is_not_the_worst_one() -> None:
    rule = checks.best_means_better
    assert refused_at(rule, checkpoint={"mode": "max"}) == "checkpoint.mode"
    assert refused_at(rule, checkpoint={"metric": "eval/exact_match"}) == "checkpoint.mode"
    assert passes(rule, checkpoint={"metric": "eval/exact_match", "mode": "max"})
    assert passes(rule, checkpoint={"metric": "my/own", "mode": "max"})
    assert refused_at(rule, checkpoint={"metric": "eval/instruction_following/prompt_loose"}) == "checkpoint.mode"


def test_the_best_checkpoint_is_measured_by_something_that_is_measured() -> None:
    rule = checks.best_is_measured
    best = {"metric": "eval/rougeL", "mode": "max"}
    assert refused_at(rule, checkpoint=best) == "checkpoint.metric"
    assert passes(rule, checkpoint=best, eval={"generate": {"metrics": ["bleu", "rougeL"]}})
    assert passes(rule, checkpoint={"metric": "eval/perplexity"})


def test_answers_are_compared_with_something() -> None:
    rule = checks.generation_measures_something
    assert refused_at(rule, eval={"generate": {"every": 5, "metrics": []}}) == "eval.generate.metrics"
    assert passes(rule, eval={"generate": {"metrics": []}})


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "hf_token", "AWS_SECRET", "DB_PASSWORD"])
def test_a_secret_is_not_written_into_the_file(name: str) -> None:
    assert refused_at(checks.no_secret_is_written_down, cluster={"env": {name: "x"}}) == f"cluster.env.{name}"


def test_an_ordinary_variable_may_be_written_into_the_file() -> None:
    assert passes(checks.no_secret_is_written_down, cluster={"env": {"TOKENIZERS_PARALLELISM": "false"}})


def test_stages_are_counted_once_where_shards_and_samples_are_dealt() -> None:
    grid = {"workers": 8, "pipeline": 4, "logical_shards": 2}
    assert passes(parallel_checks.every_worker_has_a_shard, parallel=grid)
    assert passes(parallel_checks.every_worker_has_a_sample, parallel=grid, train={"global_batch_size": 2})
    refused_at(parallel_checks.every_worker_has_a_shard, parallel={**grid, "pipeline": 2})
    refused_at(
        parallel_checks.every_worker_has_a_sample, parallel={**grid, "pipeline": 2}, train={"global_batch_size": 2}
    )


def test_a_stage_keeps_its_optimizer_state_whole() -> None:
    rule = parallel_checks.a_stage_keeps_its_state_whole
    assert refused_at(rule, parallel={"pipeline": 2, "shard_optimizer": True}) == "parallel.shard_optimizer"
    assert passes(rule, parallel={"pipeline": 1, "shard_optimizer": True})


def test_a_stage_recomputes_single_layers_and_no_segments() -> None:
    rule = parallel_checks.a_stage_recomputes_layers
    assert refused_at(rule, parallel={"pipeline": 2}, train={"grad_checkpoint": "full"}) == "train.grad_checkpoint"
    assert passes(rule, parallel={"pipeline": 2}, train={"grad_checkpoint": "layer"})
    assert passes(rule, train={"grad_checkpoint": "full"})


def test_a_stage_takes_rows_of_one_sample() -> None:
    rule = parallel_checks.a_stage_takes_one_sample_a_row
    assert refused_at(rule, parallel={"pipeline": 2}, data={"batching": "pack"}) == "data.batching"
    assert passes(rule, parallel={"pipeline": 2}, data={"batching": "bucket"})
    assert passes(rule, data={"batching": "pack"})


def test_a_pipeline_neither_writes_answers_nor_is_judged_by_them() -> None:
    rule = parallel_checks.a_pipeline_writes_no_answers
    pipeline = {"pipeline": 2}
    assert refused_at(rule, parallel=pipeline, eval={"generate": {"every": 5}}) == "eval.generate.every"
    assert refused_at(rule, parallel=pipeline, checkpoint={"metric": "eval/bleu"}) == "checkpoint.metric"
    assert passes(rule, parallel=pipeline, checkpoint={"metric": "eval/loss"})
    assert passes(rule, eval={"generate": {"every": 5}}, checkpoint={"metric": "eval/bleu"})
