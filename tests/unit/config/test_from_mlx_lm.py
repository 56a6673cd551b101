"""A configuration of mlx_lm.lora in our terms: nothing that decides the result is lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli.config_import import surroundings
from console.cli.main import main
from runtime.config.from_mlx_lm import DEFAULTS, Imported, Surroundings, import_lora
from runtime.config.load import load_config

SPOKEN_OF_ONLY = {"adapter_path", "clear_cache_threshold", "config", "resume_adapter_file", "test", "train"}
SPOKEN_OF_ONLY |= {"test_batches", "trust_remote_code"}
"""Keys that change none of ours: they are explained where they ask for something."""


def imported(around: Surroundings | None = None, **lora: Any) -> Imported:
    return import_lora({"train": True, **lora}, around or Surroundings(has_valid=True, columns=frozenset({"messages"})))


def noted(made: Imported) -> dict[str, str]:
    return {note.key: note.text for note in made.notes}


def test_the_defaults_are_those_of_the_installed_mlx_lm() -> None:
    from mlx_lm.lora import CONFIG_DEFAULTS

    assert DEFAULTS == CONFIG_DEFAULTS


CHANGED = {
    "model": "org/other", "fine_tune_type": "dora", "optimizer": "adamw", "data": "elsewhere", "seed": 3,
    "optimizer_config": {"adam": {"betas": [0.8, 0.9]}}, "num_layers": 4, "batch_size": 2, "iters": 50,
    "val_batches": 3, "learning_rate": 1e-3, "steps_per_report": 1, "steps_per_eval": 7, "save_every": 9,
    "max_seq_length": 64, "grad_checkpoint": True, "grad_accumulation_steps": 4, "mask_prompt": True,
    "lr_schedule": {"name": "cosine_decay", "arguments": [1e-3, 1000]}, "lora_parameters": {"rank": 2, "scale": 1.0},
    "report_to": "wandb", "project_name": "mine", "train": False, "test": True, "adapter_path": "x/y",
    "resume_adapter_file": "a.safetensors", "clear_cache_threshold": 5, "trust_remote_code": True, "config": "b.yaml",
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(set(DEFAULTS) - {"test_batches"}))
def test_every_key_changes_our_configuration_or_is_spoken_of(key: str) -> None:
    usual = imported()
    made = imported(**{key: CHANGED[key]})
    assert made.tables != usual.tables or noted(made) != noted(usual)
    assert (made.tables == usual.tables) == (key in SPOKEN_OF_ONLY | {"project_name"})


def test_what_mlx_lm_does_by_itself_is_written_down() -> None:
    tables = imported().tables
    assert tables["optim"] == {
        "name": "adam", "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "decay_all": True, "lr": 1e-5,
        "schedule": "constant",
    }  # fmt: skip
    assert tables["train"] == {
        "steps": 1000, "global_batch_size": 4, "micro_batch_size": 1, "max_grad_norm": 0.0, "grad_checkpoint": "none",
        "log_every": 10,
    }  # fmt: skip
    assert tables["model"]["adapter"] == {"type": "lora", "layers": 16, "rank": 8, "dropout": 0.0, "scale": 20.0}
    assert (tables["data"]["mask"], tables["data"]["window"]) == ("all", 1)
    assert tables["data"]["overlength"] == "truncate"


def test_accumulation_makes_steps_of_micro_batches() -> None:
    made = imported(grad_accumulation_steps=4, iters=100, batch_size=2, save_every=2)
    assert made.tables["train"]["steps"] == 25
    assert made.tables["train"]["global_batch_size"] == 8
    assert made.tables["checkpoint"]["every"] == 1
    assert "grad_accumulation_steps" in noted(made)


@pytest.mark.parametrize(
    ("schedule", "optim", "said"),
    [
        ({"name": "cosine_decay", "warmup": 10, "arguments": [1e-3, 1000, 1e-5]},
         {"schedule": "cosine", "lr": 1e-3, "min_lr_ratio": 0.01, "warmup_steps": 10}, set()),
        ({"name": "cosine_decay", "warmup": 5, "warmup_init": 1e-7, "arguments": [1e-3, 500]},
         {"schedule": "cosine", "min_lr_ratio": 0.0}, {"lr_schedule", "lr_schedule.warmup_init"}),
        ({"name": "linear_schedule", "arguments": [1e-3, 5e-4, 1000]},
         {"schedule": "linear", "lr": 1e-3, "min_lr_ratio": 0.5}, set()),
        ({"name": "exponential_decay", "arguments": [1e-3, 0.9]}, {"schedule": "constant"}, {"lr_schedule"}),
    ],
)  # fmt: skip
def test_a_schedule_becomes_ours_where_there_is_one(schedule: Any, optim: dict[str, Any], said: set[str]) -> None:
    made = imported(lr_schedule=schedule)
    assert made.tables["optim"].items() >= optim.items()
    assert {key for key in noted(made) if key.startswith("lr_schedule")} == said


@pytest.mark.parametrize(
    ("optimizer", "options", "optim"),
    [
        ("adamw", {"bias_correction": True}, {"weight_decay": 0.01}),
        ("adam", {"betas": [0.8, 0.9], "eps": 1e-6}, {"betas": [0.8, 0.9], "eps": 1e-6}),
        ("sgd", {"momentum": 0.9, "nesterov": True}, {"betas": [0.9, 0.999], "weight_decay": 0.0}),
        ("muon", {}, {"betas": [0.95, 0.999], "weight_decay": 0.01}),
        ("adafactor", {}, {"name": "adafactor"}),
    ],
)
def test_an_optimizer_keeps_its_options(optimizer: str, options: dict[str, Any], optim: dict[str, Any]) -> None:
    made = imported(optimizer=optimizer, optimizer_config={optimizer: options})
    assert made.tables["optim"].items() >= optim.items()
    assert ("optimizer_config.sgd.nesterov" in noted(made)) == (optimizer == "sgd")
    assert ("optimizer" in noted(made)) == (optimizer in {"muon", "adam"})


def test_pairs_that_mlx_lm_renders_as_a_chat_are_a_chat_here() -> None:
    around = Surroundings(columns=frozenset({"prompt", "completion"}))
    made = imported(around, data="d", mask_prompt=True)
    assert made.tables["data"]["source"] == [
        {"path": "d/train.jsonl", "format": "alpaca", "columns": {"instruction": "prompt", "output": "completion"}}
    ]
    assert made.tables["data"]["mask"] == "last"
    assert "val_batches" in noted(made)


def test_renamed_columns_and_hub_names() -> None:
    made = imported(Surroundings(data_is_folder=False), data="org/set", chat_feature="talk", hf_dataset={"path": "x"})
    assert made.tables["data"]["source"] == [{"path": "hf:org/set", "columns": {"messages": "talk"}}]
    assert made.tables["data"]["eval"] == {"path": "hf:org/set:valid"}
    assert {"data", "hf_dataset"} <= noted(made).keys()


def test_what_neither_knows_is_said() -> None:
    made = imported(itres=5, lora_parameters={"rank": 4, "alpha": 16}, report_to="wandb,swanlab", fine_tune_type="lora")
    assert noted(made)["itres"].endswith("; did you mean iters?")
    assert "alpha / rank" in noted(made)["lora_parameters.alpha"]
    assert noted(made)["report_to"].startswith("swanlab")
    assert made.tables["wandb"] == {"mode": "online"}
    assert "num_layers" in noted(imported(fine_tune_type="full"))
    assert "num_layers" not in noted(imported(fine_tune_type="full", num_layers=-1))
    assert "lora_parameters" in noted(imported(lora_parameters=3))
    assert imported(val_batches=-1).tables["eval"]["max_batches"] == 0
    assert "eval" not in imported(val_batches=0).tables


def lora_folder(folder: Path, **lora: Any) -> Path:
    (folder / "data").mkdir()
    (folder / "model").mkdir()
    for name in ("train", "valid"):
        (folder / "data" / f"{name}.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    path = folder / "lora.yaml"
    path.write_text(json.dumps({"model": "model", "data": "data", "train": True, **lora}, indent=1))
    return path


def test_the_command_writes_a_file_that_the_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora, mine = lora_folder(tmp_path, iters=20, clear_cache_threshold=1), tmp_path / "new" / "mine.toml"
    mine.parent.mkdir()
    assert main(["config", "import", str(lora), "--output", str(mine)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{mine}\n"
    assert "lora.yaml:6 clear_cache_threshold: not needed" in said.err
    assert "# lora.yaml:6 clear_cache_threshold: not needed" in mine.read_text()
    config = load_config(mine)
    assert (config.model.path, config.data.sources[0].path) == ("../model", "../data/train.jsonl")
    assert config.train.steps == 20
    assert main(["config", "check", str(mine)]) == 0
    assert main(["config", "import", str(lora), "--output", str(mine)]) == 2
    assert main(["config", "import", str(lora), "--output", str(tmp_path / "absent" / "mine.toml")]) == 2
    assert main(["config", "import", str(lora)]) == 0


def test_a_value_that_we_do_not_accept_is_named_in_our_terms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "import", str(lora_folder(tmp_path, batch_size="four"))]) == 2
    assert "train.micro_batch_size: must be" in capsys.readouterr().err
    (tmp_path / "data" / "train.jsonl").write_text("no json\n")
    assert main(["config", "import", str(tmp_path / "lora.yaml")]) == 2


def test_data_that_is_not_here_is_a_name_of_the_hub_or_a_folder_to_come(tmp_path: Path) -> None:
    hub = surroundings({"data": "org/set"}, tmp_path, tmp_path)
    local = surroundings({"data": "data"}, tmp_path, tmp_path)
    assert (hub.data_is_folder, hub.has_valid, hub.columns) == (False, False, frozenset())
    assert (local.data_is_folder, local.has_valid, local.data) == (True, True, "")
