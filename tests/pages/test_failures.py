from __future__ import annotations

from harness.pages.failures import REASONS, failure_table
from harness.pages.parts import FailureRow, Link


def _row(model: str, reason: str, *, what: str = "chat, 8 concurrent", state: str = "failed") -> FailureRow:
    return FailureRow(model, f"models/{model}.html", what, state, state, reason)


def test_nothing_failed_is_no_table() -> None:
    assert failure_table([]) is None


def test_cells_of_one_reason_are_one_row_and_names_beyond_the_first_are_counted() -> None:
    rows = [_row(f"m{index}", "out of memory", what=f"chat, {level}") for index in range(9) for level in (1, 8)]
    table = failure_table([_row("other", "no such file"), *rows, _row("huge", "too large", state="refused")])
    assert table is not None
    first, second, third = table.groups
    assert (first.reason, first.cells, first.more_models, first.what, first.more_what) == (
        "out of memory", 18, 5, ("chat, 1", "chat, 8"), 0,
    )
    assert first.models[0] == Link("models/m0.html", "m0")
    assert (second.reason, second.cells) == ("no such file", 1)
    assert third.state == "refused"
    assert table.more == ""


def test_one_reason_of_two_states_is_two_rows() -> None:
    table = failure_table([_row("a", "80 GB"), _row("b", "80 GB", state="refused")])
    assert table is not None
    assert [group.state for group in table.groups] == ["failed", "refused"]


def test_thousands_of_reasons_stay_short_and_say_how_many_more() -> None:
    table = failure_table([_row(f"m{index}", f"needs {index} GB") for index in range(3000)])
    assert table is not None
    assert len(table.groups) == REASONS
    assert table.more == "2\u202f950 more reasons, of 2\u202f950 cells: see the pages of the models."
