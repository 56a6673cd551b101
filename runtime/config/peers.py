"""What other trainers call our keys, tables and choices: the words that people bring with them.

Only for hints: none of these words is accepted in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def _by_word(groups: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Turns `{ours: "their words"}` around; a word that stands in several groups means any of them."""
    words: dict[str, tuple[str, ...]] = {}
    for ours, theirs in groups.items():
        for word in theirs.split():
            words[word] = (*words.get(word, ()), ours)
    return words


KEYS_OF_PEERS = _by_word(
    {
        "run.name": "run_name experiment_name exp_name job_name",
        "run.output_dir": "output out_dir save_dir checkpoint_dir adapter_path default_root_dir",
        "run.seed": "random_seed manual_seed",
        "run.resume": "resume_from resume_from_checkpoint resume_adapter_file load_checkpoint",
        "run.log_level": "verbosity logging_level",
        "model.path": "model model_name model_name_or_path base_model model_id checkpoint_path",
        "model.dtype": "precision torch_dtype mixed_precision fp16 bf16 half",
        "model.quantize_bits": "bits quantization load_in_4bit load_in_8bit",
        "model.chat_template": "prompt_template template conversation_template",
        "model.stop_tokens": "stop eos_token stop_sequences",
        "model.scratch.architecture": "model_type arch",
        "model.scratch.tokenizer": "tokenizer_path tokenizer_name",
        "model.scratch.hidden_size": "hidden_dim d_model dim n_embd embed_dim",
        "model.scratch.num_hidden_layers": "n_layer n_layers num_layers depth",
        "model.scratch.num_attention_heads": "n_head n_heads num_heads",
        "model.scratch.intermediate_size": "ffn_dim d_ff ffn_hidden_size mlp_dim",
        "model.adapter.type": "fine_tune_type train_type finetuning_type peft_type adapter",
        "model.adapter.rank": "r lora_r lora_rank",
        "model.adapter.scale": "alpha lora_alpha lora_scale",
        "model.adapter.dropout": "lora_dropout",
        "model.adapter.layers": "lora_layers",
        "model.adapter.keys": "lora_keys target_modules lora_target_modules lora_target",
        "data.max_length": "max_seq_length max_seq_len seq_len seq_length sequence_len context_length"
        " block_size cutoff_len",
        "data.mask": "mask_prompt train_on_inputs train_on_input completion_only_loss assistant_only_loss",
        "data.system": "system_prompt system_message default_system",
        "data.batching": "packing packed sample_packing group_by_length",
        "data.prefetch": "prefetch_factor num_workers dataloader_num_workers",
        "data.cache_dir": "cache cache_path",
        "data.source.path": "data_path dataset dataset_path dataset_name train_file train_data train_path"
        " files data_files",
        "data.source.format": "dataset_format data_format dataset_type",
        "data.eval.path": "val_file valid_file validation_file eval_file val_data val_path test_file valid_data",
        "data.eval.eval_fraction": "val_split eval_split val_size val_set_size validation_split test_size holdout",
        "train.steps": "iters iterations num_iters max_iters max_steps num_steps total_steps n_steps train_steps",
        "train.epochs": "num_epochs num_train_epochs max_epochs n_epochs",
        "train.global_batch_size": "batch_size train_batch_size total_batch_size effective_batch_size"
        " gradient_accumulation_steps grad_accumulation_steps accumulate_grad_batches",
        "train.micro_batch_size": "batch_size per_device_batch_size per_device_train_batch_size local_batch_size"
        " gradient_accumulation_steps grad_accumulation_steps accumulate_grad_batches",
        "train.max_grad_norm": "grad_clip gradient_clip gradient_clipping clip_grad_norm max_norm gradient_clip_val",
        "train.grad_checkpoint": "gradient_checkpointing grad_checkpointing activation_checkpointing",
        "train.compile": "torch_compile jit",
        "train.log_every": "logging_steps log_interval steps_per_report log_every_n_steps print_every",
        "optim.name": "optimizer optimiser opt optim_name optimizer_name",
        "optim.lr": "learning_rate base_lr peak_lr max_lr",
        "optim.betas": "beta1 beta2 adam_beta1 adam_beta2 momentum",
        "optim.eps": "epsilon adam_epsilon adam_eps",
        "optim.weight_decay": "wd decay l2",
        "optim.schedule": "scheduler lr_schedule lr_scheduler lr_scheduler_type lr_decay_style",
        "optim.warmup_steps": "warmup warmup_iters num_warmup_steps lr_warmup_steps",
        "optim.warmup_ratio": "warmup warmup_fraction warmup_proportion",
        "optim.min_lr_ratio": "min_lr end_lr final_lr lr_end min_learning_rate",
        "optim.loss_scale": "initial_scale grad_scaler",
        "parallel.workers": "world_size num_workers num_gpus n_gpus gpus devices num_devices"
        " num_processes nproc_per_node",
        "parallel.data": "dp dp_size data_parallel data_parallel_size",
        "parallel.pipeline": "pp pp_size pipeline_parallel pipeline_parallel_size pipeline_stages num_stages stages",
        "parallel.shard_optimizer": "zero zero_stage zero1 fsdp sharding",
        "parallel.logical_shards": "shards num_shards virtual_workers",
        "sync.bucket_mb": "bucket_size bucket_cap_mb bucket_size_mb",
        "sync.every": "local_steps sync_every sync_steps inner_steps diloco_steps",
        "supervision.intensity": "max_restarts restarts max_retries retries",
        "supervision.period_s": "period restart_window",
        "supervision.shutdown_s": "shutdown_timeout grace_period",
        "supervision.min_workers": "min_replica_size min_replicas min_nodes",
        "checkpoint.every": "save_every save_steps save_interval steps_per_save checkpoint_every checkpoint_interval",
        "checkpoint.keep_last": "save_total_limit keep max_to_keep keep_latest_k keep_checkpoints",
        "checkpoint.metric": "metric_for_best_model monitor",
        "checkpoint.async": "async_save async_mode async_checkpoint",
        "eval.every": "eval_every eval_steps steps_per_eval eval_interval val_interval"
        " val_check_interval validate_every",
        "eval.max_batches": "val_batches eval_iters limit_val_batches",
        "eval.generate.max_tokens": "max_new_tokens max_gen_tokens",
        "wandb.mode": "report_to use_wandb wandb",
        "wandb.project": "wandb_project project_name",
        "wandb.entity": "wandb_entity team",
        "cluster.hosts": "hostfile host_file nodes machines",
        "cluster.listen": "master_addr master_port rdzv_endpoint",
        "cluster.interface": "iface nic network_interface",
    }
)

TABLES_OF_PEERS = _by_word(
    {
        "run": "general experiment job",
        "model.scratch": "pretrain architecture",
        "model.adapter": "lora qlora peft lora_parameters lora_config",
        "data": "dataset datasets dataloader data_loader",
        "data.source": "sources",
        "train": "trainer training training_arguments args hyperparameters",
        "optim": "optimizer optimiser scheduler lr_scheduler lr_schedule optimizer_config",
        "parallel": "parallelism distributed",
        "sync": "synchronization comm communication",
        "supervision": "supervisor restart fault_tolerance ft",
        "checkpoint": "checkpointing checkpoints save",
        "eval": "evaluation validation val test metrics",
        "wandb": "tracking logging logger weights_and_biases",
        "cluster": "hosts network nodes",
        "console": "tui ui",
        "serve": "server inference",
    }
)

CHOICES_OF_PEERS: Mapping[str, Iterable[str]] = {
    "fp32": ("float32",),
    "f32": ("float32",),
    "float": ("float32",),
    "fp16": ("float16",),
    "f16": ("float16",),
    "half": ("float16",),
    "bf16": ("bfloat16",),
    "qlora": ("lora",),
    "sft": ("full",),
    "off": ("disabled", "none"),
    "no": ("disabled", "none"),
    "false": ("disabled", "none"),
    "on": ("online",),
    "warn": ("warning",),
    "minimize": ("min",),
    "maximize": ("max",),
    "accuracy": ("exact_match",),
    "rouge": ("rougeL",),
    "ifeval": ("instruction_following",),
    "chatml": ("messages",),
    "openai": ("messages",),
    "chat": ("messages",),
    "warmup_stable_decay": ("wsd",),
    "zb_h1": ("zb-h1",),
    "packing": ("pack",),
    "padding": ("pad",),
    "gloo": ("grpc",),
    "completion_only": ("completion",),
}
