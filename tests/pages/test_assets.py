from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.pages.assets import classic_script


def test_the_table_bundle_becomes_a_classic_script() -> None:
    script = classic_script("const a=1;export{a as ITable,b as default};\n/* licence */", "bundle.js")
    assert 'window.moebenchTables={"ITable":a,"default":b};' in script
    assert "export" not in script
    assert "licence" in script


def test_another_form_of_the_bundle_is_an_error() -> None:
    with pytest.raises(InputError, match="another form"):
        classic_script("export default 1", "bundle.js")
