"""Canonical JSON, fingerprints, and the one message for a value that breaks its type."""

from __future__ import annotations

import json
import random
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from harness.errors import InputError, MoebenchError, nearest
from harness.schema import Frozen, canonical_json, fingerprint, parse_strictly


class Inner(Frozen):
    size: int
    label: str = ""


class Outer(Frozen):
    count: int = Field(default=1, gt=0)
    ratio: float = 1.0
    switch: bool = False
    inner: tuple[Inner, ...] = ()
    table: dict[str, Inner] = {}
    either: Inner | None = None


def message(raw: object) -> str:
    with pytest.raises(InputError) as caught:
        parse_strictly(Outer, raw, where="file.yaml")
    return str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcü", max_size=3), inner, max_size=4),
    max_leaves=12,
)
DICTIONARIES = st.dictionaries(st.text("abcü", max_size=3), PLAIN, max_size=5)


class TestCanonicalJson:
    @given(DICTIONARIES, st.integers())
    def test_the_order_of_keys_does_not_matter(self, value: dict[str, object], seed: int) -> None:
        items = list(value.items())
        random.Random(seed).shuffle(items)
        assert canonical_json(dict(items)) == canonical_json(value)
        assert fingerprint(dict(items)) == fingerprint(value)

    @given(DICTIONARIES)
    def test_it_is_json_of_the_same_value(self, value: dict[str, object]) -> None:
        assert json.loads(canonical_json(value)) == value

    def test_by_hand(self) -> None:
        assert canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'
        assert canonical_json(Inner(size=3)) == '{"label":"","size":3}'
        # sha256sum of the two bytes {}.
        assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_json_cannot_carry_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical_json({"x": value})

    def test_different_values_differ(self) -> None:
        assert len({fingerprint(value) for value in ({"a": 1}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": None})}) == 5


class TestFrozen:
    def test_values_do_not_change(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            Inner(size=1).size = 2  # type: ignore[misc]

    @pytest.mark.parametrize("ratio", [float("nan"), float("inf"), -float("inf")])
    def test_numbers_are_finite(self, ratio: float) -> None:
        with pytest.raises(ValidationError, match="finite"):
            Outer(ratio=ratio)


class TestParseStrictly:
    def test_a_valid_value(self) -> None:
        raw = {"count": 2, "inner": [{"size": 1}], "table": {"x": {"size": 2}}, "either": {"size": 3, "label": "c"}}
        value = parse_strictly(Outer, raw, where="file.yaml")
        assert value.inner == (Inner(size=1),)
        assert value.table["x"].size == 2
        assert value.either == Inner(size=3, label="c")

    def test_an_integer_is_a_number_with_a_point(self) -> None:
        assert parse_strictly(Outer, {"ratio": 2}, where="file.yaml").ratio == 2.0

    @pytest.mark.parametrize(
        ("raw", "start", "given"),
        [
            ({"count": "8"}, "file.yaml:count: ", "(given: '8')"), ({"count": 0}, "file.yaml:count: ", "(given: 0)"),
            ({"count": 1.5}, "file.yaml:count: ", "(given: 1.5)"), ({"switch": 1}, "file.yaml:switch: ", "(given: 1)"),
            ({"count": True}, "file.yaml:count: ", "(given: True)"),
            ({"inner": [{"size": 1}, {"size": "x"}]}, "file.yaml:inner[1].size: ", "(given: 'x')"),
            ({"inner": {"size": 1}}, "file.yaml:inner: ", ""),
            ({"inner": [{}]}, "file.yaml:inner[0].size: ", "required"),
        ],
    )
    def test_the_message_names_the_place_and_the_value(
        self, raw: dict[str, object], start: str, given: str
    ) -> None:
        text = message(raw)
        assert text.startswith(start)
        assert given in text

    @pytest.mark.parametrize(
        ("raw", "start"),
        [
            ({"cuont": 1}, "file.yaml:cuont: unknown key 'cuont'; did you mean 'count'?"),
            ({"inner": [{"size": 1, "lable": ""}]},
             "file.yaml:inner[0].lable: unknown key 'lable'; did you mean 'label'?"),
            ({"either": {"size": 1, "sizes": 1}}, "file.yaml:either.sizes: unknown key 'sizes'; did you mean 'size'?"),
            ({"zzz": 1}, "file.yaml:zzz: unknown key 'zzz'; known: count, either, inner, ratio, switch, table"),
        ],
    )
    def test_an_unknown_key_names_the_nearest(self, raw: dict[str, object], start: str) -> None:
        assert message(raw).startswith(start)

    def test_unknown_keys_come_first_and_the_rest_are_counted(self) -> None:
        text = message({"count": 0, "switch": 3, "rato": 1})
        assert text.splitlines()[0].startswith("file.yaml:rato: unknown key")
        assert text.splitlines()[1].strip() == "2 more to mend in this file"

    @pytest.mark.parametrize("raw", [None, [], "text", 3])
    def test_what_is_no_mapping(self, raw: object) -> None:
        assert message(raw).startswith("file.yaml: ")


    @pytest.mark.parametrize("raw", [{date(2026, 1, 5): 1}, {"x": {(1, 2): 3}}])
    def test_what_json_cannot_carry(self, raw: object) -> None:
        assert message(raw).startswith("file.yaml: holds what JSON cannot carry: keys must be")


class TestErrors:
    def test_a_message_says_where_what_and_the_next_step(self) -> None:
        error = InputError("no such task", where="a.yaml:tasks", hint="see b")
        assert str(error) == "a.yaml:tasks: no such task\n  see b"
        assert str(MoebenchError("broken")) == "broken"
        assert (InputError("x").exit_code, MoebenchError("x").exit_code) == (2, 1)

    def test_nearest(self) -> None:
        assert nearest("mixtrl", ["llama", "mixtral"]) == "did you mean 'mixtral'?"
        assert nearest("zzz", ["b", "a", "a"]) == "known: a, b"
        assert nearest("zzz", []) == "no value is known here"
        assert nearest("zzz", [f"name-{i:02}" for i in range(15)]).endswith("name-11 and 3 more")
