"""Pictures of screens: well formed, small, and all there."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from xml.etree import ElementTree

from console.state.tabs import TABS
from tests.support.pictures import picture, with_long_lines
from tests.support.repository import ROOT
from tests.unit.console.seats import console, in_console, target, written
from tests.unit.view.told import begun, steps

SCREENS = ROOT / "tests" / "fixtures" / "screens"
SVG = "{http://www.w3.org/2000/svg}"


def test_every_screen_is_there_in_both_sizes_and_both_themes() -> None:
    wanted = {
        f"{tab.name}-{size}-{theme}.svg" for tab, size, theme in product(TABS, ("100x30", "80x24"), ("dark", "light"))
    }
    assert {path.name for path in SCREENS.glob("*.svg")} == wanted
    for path in sorted(SCREENS.glob("*.svg")):
        text = " ".join(each.text or "" for each in ElementTree.parse(path).iter(f"{SVG}text"))
        assert "quickstart" in text
        assert "LIVE" in text


def test_a_picture_has_the_words_of_the_screen_at_their_columns(tmp_path: Path) -> None:
    async def look() -> None:
        async with console(target(written(tmp_path / "tiny", [*begun(), *steps(1, 4)]))) as (app, _):
            drawn = picture(app)
        texts = [each for each in ElementTree.fromstring(drawn).iter(f"{SVG}text") if each.text]
        (name,) = [each for each in texts if each.text == "mlx-distributed"]
        assert (name.get("x"), name.get("textLength")) == ("8.43", "126.45")
        assert not [each for each in texts if (each.text or "").startswith(" ")]

    in_console(look)


def test_pieces_of_one_line_are_one_piece() -> None:
    rows = [
        '<path d="M0 8.5H8.43" a="1"/>', '<path d="M8.43 8.5H16.86" a="1"/>', '<path d="M30 8.5H38" a="1"/>',
        '<path d="M38 8.5H46" a="2"/>', "<text/>",
    ]  # fmt: skip
    assert with_long_lines(rows) == ['<path d="M0 8.5H16.86" a="1"/>', *rows[2:]]
