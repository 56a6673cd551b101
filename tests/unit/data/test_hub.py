"""Data sets of the hub: their names, and what is asked of `datasets`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.data.files import rows_of
from runtime.data.hub import HubName, is_hub_name, parse_hub_name, rows_of_hub
from runtime.errors import DataError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("hf:org/name", HubName("org/name", None, "train")),
        ("hf:org/na-me.x:test", HubName("org/na-me.x", None, "test")),
        ("hf:org/name/main:train[:10%]", HubName("org/name", "main", "train[:10%]")),
    ],
)
def test_a_name_has_a_configuration_and_a_split(path: str, name: HubName) -> None:
    assert is_hub_name(path)
    assert parse_hub_name(path) == name


@pytest.mark.parametrize("path", ["hf:", "hf:name", "hf:a/b/c/d", "hf:org/name:"])
def test_another_name_is_refused(path: str) -> None:
    with pytest.raises(DataError, match=r"is no name of the hub; write hf:org/name"):
        parse_hub_name(path)


def test_rows_are_numbered_and_the_cache_is_passed_on() -> None:
    asked: list[Any] = []

    def load(*words: Any, **options: Any) -> list[dict[str, str]]:
        asked.append((words, options))
        return [{"text": "a"}, {"text": "b"}]

    assert list(rows_of_hub("hf:org/name/part:test", Path("cache"), load)) == [(1, {"text": "a"}), (2, {"text": "b"})]
    assert asked == [(("org/name", "part"), {"split": "test", "cache_dir": "cache"})]


def test_what_keeps_a_data_set_from_being_loaded_is_said() -> None:
    def load(*words: Any, **options: Any) -> list[dict[str, str]]:
        raise ConnectionError("no network\nand much more")

    with pytest.raises(DataError, match=r"hf:org/name cannot be loaded: ConnectionError: no network$"):
        list(rows_of_hub("hf:org/name", load=load))


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs datasets: install mlx-distributed\[hf\], or download the file"):
        list(rows_of("hf:org/name"))


def test_the_loader_of_datasets_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("datasets")
    library.__dict__["load_dataset"] = lambda *words, **options: [{"text": options["split"]}]
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert [row.value for row in rows_of("hf:org/name")] == [{"text": "train"}]
