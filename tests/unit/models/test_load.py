"""Opening and writing model folders: what mlx_lm opens, we open; what we write, mlx_lm opens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import ModelError
from runtime.models.device import DeviceKind, default_kind
from runtime.models.load import Loaded, find_folder, load_model, load_tokenizer, resolve_dtype, write_model_folder
from tests.unit.models.conftest import scratch, small_model


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_mlx_lm_opens_an_exported_folder_with_the_same_weights_and_stop_tokens(exported: Path, tiny: Loaded) -> None:
    import mlx.core as mx
    import mlx_lm
    from mlx.utils import tree_flatten

    model, tokenizer = mlx_lm.load(str(exported))
    ours, theirs = dict(tree_flatten(tiny.model.parameters())), dict(tree_flatten(model.parameters()))
    assert ours.keys() == theirs.keys()
    assert all(bool(mx.array_equal(ours[name], theirs[name])) for name in ours)
    assert tokenizer.eos_token_ids == tiny.tokenizer.eos_token_ids
    question = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(question) == tiny.tokenizer.apply_chat_template(question)


def test_a_folder_is_loaded_and_written_again_unchanged(exported: Path, tmp_path: Path) -> None:
    from mlx.utils import tree_flatten

    loaded = load_model(small_model(path=str(exported)), seed=0)
    write_model_folder(tmp_path / "again", loaded, dict(tree_flatten(loaded.model.parameters())))
    files = {path.name for path in exported.iterdir()}
    assert {path.name for path in (tmp_path / "again").iterdir()} == files
    assert all((tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes() for name in files)


def test_numpy_parameters_are_written_too(tmp_path: Path, tiny: Loaded) -> None:
    import mlx.core as mx
    import numpy as np

    write_model_folder(tmp_path / "out", tiny, {"a.weight": np.ones((2, 3), np.float32)})
    assert mx.load(str(tmp_path / "out" / "model.safetensors"))["a.weight"].shape == (2, 3)


def test_auto_means_float32_on_a_cpu() -> None:
    assert resolve_dtype("auto", DeviceKind.CPU) == "float32"
    assert resolve_dtype("auto", DeviceKind.METAL) == "bfloat16"
    assert resolve_dtype("auto") == resolve_dtype("auto", default_kind())
    assert resolve_dtype("float16", DeviceKind.CPU) == "float16"


def test_the_dtype_asked_for_is_the_parameters_dtype() -> None:
    import mlx.core as mx

    assert load_model(small_model(dtype="bfloat16"), seed=0).model.model.norm.weight.dtype == mx.bfloat16
    assert load_model(small_model(), 0, "float16").model.model.norm.weight.dtype == mx.float16


def test_the_tokenizer_alone_is_the_models(exported: Path, tiny: Loaded) -> None:
    for model in (small_model(), small_model(path=str(exported))):
        assert load_tokenizer(model).eos_token_ids == tiny.tokenizer.eos_token_ids


def test_one_stop_token_or_none_in_config_json_is_enough(exported: Path) -> None:
    edit_config(exported, eos_token_id=259)
    assert load_tokenizer(small_model(path=str(exported))).eos_token_ids == {257, 259}
    edit_config(exported, eos_token_id=None)
    assert load_tokenizer(small_model(path=str(exported))).eos_token_ids == {257}


def test_scratch_takes_a_tokenizer_folder(exported: Path) -> None:
    loaded = load_model(small_model(scratch=scratch(tokenizer=str(exported))), seed=0)
    assert loaded.config["vocab_size"] == 260
    with pytest.raises(ModelError, match=r"model\.scratch\.tokenizer: no-such is not a folder"):
        load_model(small_model(scratch=scratch(tokenizer="no-such")), seed=0)


def test_a_missing_folder_is_refused_without_asking_the_hub() -> None:
    for path in ("./no-such", "/no/such/folder", "a/b/c", "no-such"):
        with pytest.raises(ModelError, match=r"is not a folder; give a model's folder or a hub name"):
            load_model(small_model(path=path), seed=0)


def test_a_hub_name_without_files_or_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def no_network(*_args: object, **_options: object) -> str:
        raise LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(
        ModelError, match=r"model\.path: org/name is no folder here, and the hub did not give it: Cannot find"
    ):
        find_folder("org/name")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: str(tmp_path))
    assert find_folder("org/name") == tmp_path


def test_a_folder_without_config_json_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no config\.json in this folder"):
        load_model(small_model(path=str(tmp_path)), seed=0)


def test_a_broken_config_json_is_refused(exported: Path) -> None:
    (exported / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        load_model(small_model(path=str(exported)), seed=0)


def test_a_config_without_an_architecture_is_refused(exported: Path) -> None:
    edit_config(exported, model_type=None)
    with pytest.raises(ModelError, match="has no model_type"):
        load_model(small_model(path=str(exported)), seed=0)


def test_an_unknown_architecture_is_refused_by_name(exported: Path) -> None:
    edit_config(exported, model_type="llamma")
    with pytest.raises(ModelError, match=r"no architecture 'llamma'; did you mean llama\?"):
        load_model(small_model(path=str(exported)), seed=0)


def test_a_folder_without_weights_is_refused(exported: Path) -> None:
    (exported / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"there is no model\*\.safetensors"):
        load_model(small_model(path=str(exported)), seed=0)


@pytest.mark.parametrize("changes", [{"hidden_size": 64}, {"num_hidden_layers": 3}, {"vocab_size": 300}])
def test_weights_of_another_shape_are_refused(exported: Path, changes: dict[str, int]) -> None:
    edit_config(exported, **changes)
    with pytest.raises(ModelError, match=r"the weights do not fit config\.json: "):
        load_model(small_model(path=str(exported)), seed=0)


def test_truncated_weights_are_refused(exported: Path) -> None:
    weights = exported / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"the weights do not fit config\.json: "):
        load_model(small_model(path=str(exported)), seed=0)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, tiny: Loaded) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="the model could not be written"):
        write_model_folder(tmp_path / "file", tiny, {})
