"""A configuration of `mlx_lm.lora` in our terms: what it asks for, and what it cannot ask for here.

Everything that decides the result is carried over, mlx-lm's own defaults included (its learning rate of 1e-5, betas of
0.9 and 0.999, no clipping, every token learnt). Where the two differ on purpose a note says why, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

Raw = Mapping[str, Any]

DEFAULTS: Raw = {
    "model": "Qwen/Qwen3-0.6b",
    "train": False,
    "fine_tune_type": "lora",
    "optimizer": "adam",
    "optimizer_config": {"adam": {}, "adamw": {}, "muon": {}, "sgd": {}, "adafactor": {}},
    "data": "mlx-community/WikiSQL",
    "seed": 0,
    "num_layers": 16,
    "batch_size": 4,
    "iters": 1000,
    "val_batches": 25,
    "learning_rate": 1e-5,
    "steps_per_report": 10,
    "steps_per_eval": 200,
    "resume_adapter_file": None,
    "adapter_path": "adapters",
    "save_every": 100,
    "test": False,
    "test_batches": 500,
    "max_seq_length": 2048,
    "config": None,
    "grad_checkpoint": False,
    "grad_accumulation_steps": 1,
    "clear_cache_threshold": 0,
    "lr_schedule": None,
    "lora_parameters": {"rank": 8, "dropout": 0.0, "scale": 20.0},
    "mask_prompt": False,
    "report_to": None,
    "project_name": None,
    "trust_remote_code": False,
}
"""`mlx_lm.lora.CONFIG_DEFAULTS` of mlx-lm 0.32; a test compares it with the installed one."""
PIECES = 4
"""Micro-batches of a step, which sorts its samples by length first.

mlx-lm's own batches are of mixed lengths: it means to sort, but by the number of keys of a record. A step of samples of
like length (data.window = 64) would compute as few positions as these pieces do, 0.78 of them useful against mlx-lm's
0.37; but its steps have unequal numbers of tokens, and weigh those of short samples more. Held-out loss of the same
three epochs, tests/benchmarks/against_mlx_lm.py, 96 rows, seeds 0, 1, 2: mlx_lm.lora 2.185 2.070 2.172; pieces 2.213
2.137 2.207; like lengths 2.357 2.344 2.443.
"""
EXTRAS = ("hf_dataset", "prompt_feature", "completion_feature", "chat_feature", "text_feature")
"""Keys that mlx-lm reads besides: where the columns of a data set have other names."""


@dataclass(frozen=True)
class Note:
    """A key whose meaning does not come over whole."""

    key: str
    text: str
    """Why, and what to do."""


@dataclass(frozen=True)
class Surroundings:
    """What lies around the file, as far as the translation depends on it."""

    model: str = ""
    """The model's folder as it is named from where the new file will stand; empty for a name of the hub."""
    data: str = ""
    """The data's folder in the same way."""
    data_is_folder: bool = True
    """Whether data names a folder, and not a data set of the hub."""
    has_valid: bool = False
    columns: frozenset[str] = frozenset()
    """Of the first training record; empty where it cannot be read."""


@dataclass
class Imported:
    """Our configuration, as tables that `tomli_w` writes, and what is left to say."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def put(self, dotted: str, value: Any) -> None:
        """Set one of our keys: `train.steps`, `model.adapter.rank`."""
        *tables, key = dotted.split(".")
        place = self.tables
        for table in tables:
            place = place.setdefault(table, {})
        place[key] = value

    def note(self, key: str, text: str) -> None:
        """Say why `key` does not come over whole, and what to do."""
        self.notes.append(Note(key, text))


def import_lora(given: Raw, around: Surroundings) -> Imported:
    """Translate what a file of `mlx_lm.lora` says; keys that it leaves out have mlx-lm's defaults.

    Wrong types are carried over as they are: the check of our configuration names them.
    """
    lora = {**DEFAULTS, **{key: value for key, value in given.items() if value is not None}}
    made = Imported()
    for translate in TRANSLATIONS:
        translate(lora, around, made)
    for key in given:
        if key not in DEFAULTS and key not in EXTRAS:
            near = difflib.get_close_matches(key, DEFAULTS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            made.note(key, f"unknown to mlx_lm.lora, which ignores it in silence, and left out here{hint}")
    return made


def _model(lora: Raw, around: Surroundings, made: Imported) -> None:
    made.put("run.seed", lora["seed"])
    made.put("model.path", around.model or lora["model"])
    if lora["trust_remote_code"]:
        made.note("trust_remote_code", "code from a model's folder is never run here: models of mlx-lm load without it")
    kind = lora["fine_tune_type"]
    made.put("model.adapter.type", kind)
    if kind == "full":
        if lora["num_layers"] != -1:
            made.note(
                "num_layers", "full training trains every layer here; use lora or dora to train the last ones only"
            )
        return
    made.put("model.adapter.layers", lora["num_layers"])
    parameters = lora["lora_parameters"]
    if not isinstance(parameters, Mapping):
        made.note("lora_parameters", "is no table of rank, scale and dropout: set [model.adapter] yourself")
        return
    for name, value in parameters.items():
        if name in {"rank", "scale", "dropout", "keys"}:
            made.put(f"model.adapter.{name}", value)
        else:
            hint = "; mlx-lm's scale is alpha / rank" if name == "alpha" else ""
            made.note(f"lora_parameters.{name}", f"unknown to mlx_lm.lora and left out{hint}")


def _data(lora: Raw, around: Surroundings, made: Imported) -> None:
    name = around.data or str(lora["data"])
    source: dict[str, Any] = {"path": f"{name.rstrip('/')}/train.jsonl" if around.data_is_folder else f"hf:{name}"}
    names = {feature: lora.get(f"{feature}_feature", usual) for feature, usual in _USUAL_COLUMNS.items()}
    if {names["prompt"], names["completion"]} <= around.columns:  # mlx-lm renders such pairs as a chat
        source |= {"format": "alpaca", "columns": {"instruction": names["prompt"], "output": names["completion"]}}
    elif renamed := {usual: names[what] for what, usual in _USUAL_COLUMNS.items() if names[what] != usual}:
        source["columns"] = renamed
    if not around.columns:
        made.note(
            "data",
            "its records could not be looked at: if they have the columns prompt and completion, which mlx-lm renders "
            'as a chat, set format = "alpaca" and columns = { instruction = "prompt", output = "completion" } there',
        )
    made.put("data.source", [source])
    _held_out(lora, around, made)
    if "hf_dataset" in lora:
        made.note(
            "hf_dataset", 'name it as data.source.path = "hf:org/name:split", renamed columns in data.source.columns'
        )
    made.put("data.max_length", lora["max_seq_length"])
    made.put("data.overlength", "truncate")
    made.put("data.mask", "last" if lora["mask_prompt"] else "all")


_USUAL_COLUMNS = {"prompt": "prompt", "completion": "completion", "chat": "messages", "text": "text"}


def _held_out(lora: Raw, around: Surroundings, made: Imported) -> None:
    name = (around.data or str(lora["data"])).rstrip("/")
    batches = lora["val_batches"]
    if batches == 0:
        return
    if around.data_is_folder and not around.has_valid:
        made.note("val_batches", f"there is no {name}/valid.jsonl: set data.eval.path, or data.eval.eval_fraction")
        return
    made.put("data.eval.path", f"{name}/valid.jsonl" if around.data_is_folder else f"hf:{name}:valid")
    made.put("eval.max_batches", 0 if batches == -1 else batches)
    made.put("eval.every", _steps(lora, "steps_per_eval"))


def _length(lora: Raw, _: Surroundings, made: Imported) -> None:
    accumulation = _accumulation(lora)
    batch = lora["batch_size"]
    made.put("train.steps", _steps(lora, "iters"))
    made.put("train.global_batch_size", batch * accumulation if type(batch) is int else batch)
    made.put("train.micro_batch_size", max(1, batch // PIECES) if type(batch) is int else batch)
    made.put("data.window", 1)
    made.put("train.max_grad_norm", 0.0)  # mlx-lm does not clip
    made.put("train.grad_checkpoint", "layer" if lora["grad_checkpoint"] else "none")
    made.put("train.log_every", _steps(lora, "steps_per_report"))
    made.put("checkpoint.every", _steps(lora, "save_every"))
    made.note(
        "batch_size",
        "a step has as many samples, shuffled, as a batch of mlx-lm; the device gets them in smaller pieces of like "
        "length (train.micro_batch_size), which pads less and adds up to the same gradient",
    )
    if accumulation > 1:
        made.note(
            "grad_accumulation_steps",
            f"mlx-lm counts micro-batches and we count steps of {accumulation}: iters, save_every and steps_per_* are "
            "divided; the mean is over tokens here, and over micro-batches there, which weighs short ones too much",
        )


def _accumulation(lora: Raw) -> int:
    given = lora["grad_accumulation_steps"]
    return given if type(given) is int and given > 0 else 1


def _steps(lora: Raw, key: str) -> Any:
    """Micro-batches of mlx-lm as steps of ours, at least one."""
    value = lora[key]
    return max(1, value // _accumulation(lora)) if type(value) is int and value > 0 else value


def _optimizer(lora: Raw, _: Surroundings, made: Imported) -> None:
    name = str(lora["optimizer"]).lower()
    made.put("optim.name", name)
    all_options = lora["optimizer_config"]
    given = all_options.get(name) if isinstance(all_options, Mapping) else None
    options = dict(given) if isinstance(given, Mapping) else {}
    if name in {"adam", "adamw"}:
        made.put("optim.betas", options.pop("betas", [0.9, 0.999]))
        made.put("optim.eps", options.pop("eps", 1e-8))
        if not options.pop("bias_correction", False):
            made.note("optimizer", f"{name} corrects its bias here and not in mlx-lm: the first steps are larger")
    elif name in {"sgd", "muon"}:
        made.put("optim.betas", [options.pop("momentum", 0.0 if name == "sgd" else 0.95), 0.999])
    if name == "muon":
        made.note(
            "optimizer", "muon's step has AdamW's size here (RMS 0.2): divide a learning rate of mlx-lm's by about 5"
        )
    made.put("optim.weight_decay", options.pop("weight_decay", 0.01 if name in {"adamw", "muon"} else 0.0))
    made.put("optim.decay_all", True)
    for option in options:
        made.note(f"optimizer_config.{name}.{option}", "has no counterpart here and is left out")


def _schedule(lora: Raw, _: Surroundings, made: Imported) -> None:
    schedule = lora["lr_schedule"]
    if not isinstance(schedule, Mapping):
        made.put("optim.lr", lora["learning_rate"])
        made.put("optim.schedule", "constant")
        return
    name = schedule.get("name")
    arguments = schedule.get("arguments")
    numbers = list(arguments) if isinstance(arguments, list) else []
    made.put("optim.lr", numbers[0] if numbers else lora["learning_rate"])
    ours, ratio, length = _curve(name, numbers)
    made.put("optim.schedule", ours)
    if ratio is not None:
        made.put("optim.min_lr_ratio", ratio)
        total = made.tables["train"]["steps"]
        if length != total:
            made.note("lr_schedule", f"{name} ends after {length} steps there, and with the run here ({total} steps)")
    else:
        made.note("lr_schedule", f"{name} has no counterpart: the rate is constant; use cosine, linear or wsd instead")
    if schedule.get("warmup"):
        made.put("optim.warmup_steps", schedule["warmup"])
    if schedule.get("warmup_init"):
        made.note("lr_schedule.warmup_init", "the warmup begins at 0 here")


def _curve(name: object, numbers: list[Any]) -> tuple[str, float | None, Any]:
    """Our schedule, what fraction of the rate it ends at, and after how many steps mlx-lm's ends."""
    match name, numbers:
        case "cosine_decay", [first, steps, *end]:
            return "cosine", (end[0] / first if end else 0.0), steps
        case "linear_schedule", [first, end, steps] if first >= end:
            return "linear", end / first, steps
        case _:
            return "constant", None, None


def _reports(lora: Raw, _: Surroundings, made: Imported) -> None:
    asked = [name.strip() for name in str(lora["report_to"] or "").split(",") if name.strip()]
    if "wandb" in asked:
        made.put("wandb.mode", "online")
        if lora["project_name"]:
            made.put("wandb.project", lora["project_name"])
    elif lora["project_name"]:
        made.note("project_name", "counts only where report_to names wandb")
    for name in asked:
        if name != "wandb":
            made.note("report_to", f"{name} is not supported: the journal (events.jsonl) has every number")


def _files(lora: Raw, _: Surroundings, made: Imported) -> None:
    name = PurePosixPath(str(lora["adapter_path"])).name
    made.note(
        "adapter_path",
        "checkpoints go to the run's folder; `mlx-distributed checkpoints export RUN "
        f"{name or 'adapters'}` writes what mlx_lm.generate --adapter-path reads",
    )
    if lora["resume_adapter_file"]:
        made.note(
            "resume_adapter_file",
            "an adapter alone cannot be gone on with (no optimizer, no place in the data): fuse it into its base with "
            "mlx_lm.fuse, and name that as model.path",
        )
    if not lora["train"] and "train" in lora:
        made.note("train", "`mlx-distributed run` always trains; `mlx-distributed evaluate` only measures")
    if lora["test"]:
        made.note(
            "test",
            "run `mlx-distributed evaluate RUN CONFIG --set data.eval.path=.../test.jsonl` afterwards (test_batches: "
            "eval.max_batches)",
        )
    if lora["clear_cache_threshold"]:
        made.note(
            "clear_cache_threshold", "not needed: shapes of batches are bounded, so the cache is (mlx-lm ignores it)"
        )
    if lora["config"]:
        made.note("config", "a file cannot name another one: put the keys into one file")


TRANSLATIONS: tuple[Callable[[Raw, Surroundings, Imported], None], ...] = (
    _model, _data, _length, _optimizer, _schedule, _reports, _files,
)  # fmt: skip
