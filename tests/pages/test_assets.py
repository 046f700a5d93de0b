from __future__ import annotations

import re
from collections import Counter

import pytest
import sites

from harness.errors import InputError
from harness.pages.assets import classic_script, own_script, own_style


def test_the_table_bundle_becomes_a_classic_script() -> None:
    script = classic_script("const a=1;export{a as ITable,b as default};\n/* licence */", "bundle.js")
    assert 'window.moebenchTables={"ITable":a,"default":b};' in script
    assert "export" not in script
    assert "licence" in script


def test_another_form_of_the_bundle_is_an_error() -> None:
    with pytest.raises(InputError, match="another form"):
        classic_script("export default 1", "bundle.js")


def test_every_style_and_script_of_ours_goes_into_the_one_that_pages_ask_for() -> None:
    own = sites.TEMPLATES / "assets"
    assert {path.name for path in own.iterdir()} == {"scripts", "styles"}
    for folder, text in (("styles", own_style(own / "styles")), ("scripts", own_script(own / "scripts"))):
        parts = [path.read_text(encoding="utf-8") for path in (own / folder).iterdir()]
        assert len(parts) > 10
        assert all(text.count(part) == 1 for part in parts)
        assert abs(len(text) - sum(map(len, parts))) < 100


def _palette() -> dict[str, tuple[str, str]]:
    """The light and the dark colour of every name in the style sheets."""
    text = own_style(sites.TEMPLATES / "assets" / "styles")
    pairs = re.findall(r"(?:\.(c\d) \{ --c|--([a-z]+)): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", text)
    return {part or name: (light, dark) for part, name, light, dark in pairs}


def _channels(colour: str) -> list[float]:
    """Red, green and blue of an sRGB colour as shares of light."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), _channels(colour), strict=True))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_parts_of_a_whole_stand_out_and_have_no_colour_of_a_kind_of_model(theme: int) -> None:
    palette = {name: colours[theme] for name, colours in _palette().items()}
    parts = {name: colour for name, colour in palette.items() if re.fullmatch(r"c\d", name)}
    assert len(parts) == len(set(parts.values())) == 9
    for name, colour in parts.items():
        lights = sorted((_luminance(colour), _luminance(palette["paper"])))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 3, name
        for kind in ("sparse", "dense"):
            apart = sum((x - y) ** 2 for x, y in zip(_channels(colour), _channels(palette[kind]), strict=True))
            assert apart > 0.01, f"{name} looks {kind}"


def test_no_two_scripts_use_one_name_in_their_scope() -> None:
    text = own_script(sites.TEMPLATES / "assets" / "scripts")
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE)
    assert len(names) > 100
    assert [name for name, times in Counter(names).items() if times > 1] == []
