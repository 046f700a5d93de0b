from __future__ import annotations

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
