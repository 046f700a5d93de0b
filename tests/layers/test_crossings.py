"""From which token count on the sparse layer wins: placed by hand, laws, and the words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_reports import report

from harness.layers.result import Comparison

DENSE = "the dense one of equal total width"


def against_total(*ratios: float, **options: object) -> Comparison:
    return report(*ratios, **options).comparisons[1]  # type: ignore[arg-type]


class TestPlace:
    def test_halfway_between_two_token_counts(self) -> None:
        # the logarithms are as far below as above 0, so the lead changes halfway on the scale of doublings
        (change,) = against_total(0.5, 0.5, 2.0, 2.0).changes
        assert change.faster == "sparse"
        assert change.tokens == pytest.approx(2 * 2**0.5, rel=1e-3)
        assert change.low is not None and change.high is not None
        assert 2 < change.low < change.tokens < change.high < 4

    def test_there_and_back(self) -> None:
        found = against_total(4.0, 2.0, 0.5, 0.5, 2.0)
        assert [one.faster for one in found.changes] == ["dense", "sparse"]
        assert [one.tokens for one in found.changes] == pytest.approx([2 * 2**0.5, 8 * 2**0.5], rel=1e-3)
        assert found.leads == ("sparse", "sparse", "dense", "dense", "sparse")

    @given(st.lists(st.sampled_from([0.4, 0.7, 1.5, 3.0]), min_size=2, max_size=8))
    def test_the_lead_changes_as_often_as_the_ratios_cross_1(self, ratios: list[float]) -> None:
        found = against_total(*ratios)
        crossed = [i for i in range(len(ratios) - 1) if (ratios[i] > 1) != (ratios[i + 1] > 1)]
        assert len(found.changes) == len(crossed)
        for index, change in zip(crossed, found.changes, strict=True):
            assert 2**index < change.tokens < 2 ** (index + 1)
            assert change.faster == ("sparse" if ratios[index + 1] > 1 else "dense")

    def test_noise_that_hides_every_lead_leaves_no_change(self) -> None:
        found = against_total(0.9, 1.1, spread=(0.5, 1.0, 2.0))
        assert found.changes == () and found.leads == ("", "")


class TestWords:
    def test_from_a_token_count_on(self) -> None:
        assert against_total(0.5, 0.5, 2.0).sentence == (
            f"From about 3 tokens on the sparse layer is faster than {DENSE} (interval 2 to 3)."
        )

    def test_up_to_a_token_count(self) -> None:
        assert against_total(2.0, 2.0, 0.5).sentence == (
            f"Up to about 3 tokens the sparse layer is faster than {DENSE} (interval 2 to 3)."
        )

    def test_at_both_ends(self) -> None:
        assert against_total(2.0, 0.5, 0.5, 0.5, 0.5, 2.0).sentence == (
            f"From about 23 tokens on the sparse layer is faster than {DENSE} (interval 22 to 23), and so it is up to "
            "about 1 token (interval 1 to 2)."
        )

    def test_more_changes_are_listed(self) -> None:
        sentence = against_total(2.0, 0.5, 2.0, 0.5, 0.5).sentence
        assert sentence.startswith("Up to about 6 tokens the sparse layer is faster")
        assert "; before that the faster is the dense one from about 1 token on" in sentence
        assert "and the sparse one from about 3 tokens on" in sentence

    def test_an_estimate_on_a_token_count_is_not_about(self) -> None:
        assert "From 2 tokens on" in against_total(0.5, 1.0, 2.0, spread=(0.999999, 1.0, 1.000001)).sentence

    def test_never(self) -> None:
        found = report(2.0, 3.0, 4.0)
        assert found.comparisons[0].sentence == (
            "The sparse layer is slower than the dense one of equal active width at all 3 token counts within 1 to 4 "
            "tokens."
        )

    def test_always(self) -> None:
        assert against_total(2.0, 3.0, 4.0).sentence == (
            f"The sparse layer is faster than {DENSE} at all 3 token counts within 1 to 4 tokens."
        )

    def test_a_lead_that_is_not_certain_everywhere(self) -> None:
        assert against_total(2.0, 1.001, 1.001).sentence == (
            f"The sparse layer is faster than {DENSE} at 1 of 3 token counts (1); at the others the two cannot be told "
            "apart."
        )
        assert "slower than" in against_total(0.5, 0.999, 0.999).sentence

    def test_the_token_counts_of_a_lead_are_named_as_spans(self) -> None:
        sentence = against_total(2.0, 2.0, 2.0, 1.001, 2.0).sentence
        assert "at 4 of 5 token counts (1 to 4 and 16); at the other the two" in sentence

    def test_two_token_counts_are_both(self) -> None:
        assert "faster than the dense one of equal total width at both token counts" in against_total(2.0, 3.0).sentence

    def test_a_change_at_the_end_of_the_range_is_a_maybe(self) -> None:
        sentence = against_total(0.5, 0.6, 1.002).sentence
        assert "may be faster" in sentence and "4 or more" in sentence

    def test_nothing_certain(self) -> None:
        assert against_total(1.001, 0.999).sentence == (
            f"The sparse layer and {DENSE} cannot be told apart within 1 to 2 tokens."
        )

    def test_a_single_token_count(self) -> None:
        assert against_total(2.0).sentence == f"The sparse layer is faster than {DENSE} with 1 token."
