"""In what two scores of a task were asked differently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import builders
import pytest

from harness.sizes import asked_differently
from harness.summarise import summarise
from harness.summary import Asked, TaskScore


@pytest.fixture(scope="module")
def score() -> TaskScore:
    (model,) = summarise(builders.with_paths([builders.quality_record()]))
    return model.scores["facts"]


def asked(score: TaskScore, **changes: Any) -> TaskScore:
    return replace(score, scenario=builders.quality_scenario(**changes))


def of_forms(score: TaskScore, *forms: tuple[Asked, float]) -> TaskScore:
    return replace(score, forms=forms)


def test_both_values_are_told(score: TaskScore) -> None:
    assert asked_differently(score, score) == ""
    assert asked_differently(score, asked(score, num_fewshot=5)) == "examples 0 against 5"


def test_what_differs_beyond_what_is_shown_is_a_difference(score: TaskScore) -> None:
    one, other = (asked(score, lm_eval_task="t" * 70 + end) for end in "ab")
    words = asked_differently(one, other)
    assert words.startswith("task ttt") and words.endswith("against another that begins alike")
    assert "shares" not in words and len(words) < 120


def test_shares_are_told_only_of_the_same_forms(score: TaskScore) -> None:
    form = score.asked[0][0]
    settings = ((0, True), (5, False), (0, False), (5, True))
    a, b, c, d = (form._replace(num_fewshot=shots, apply_chat_template=chat) for shots, chat in settings)
    thirds = of_forms(score, (a, 1 / 3), (b, 2 / 3))
    assert asked_differently(thirds, of_forms(score, (a, 2 / 3), (b, 1 / 3))) == (
        "the same forms in other shares of the trainings"
    )
    crossed = of_forms(score, (c, 1 / 3), (d, 2 / 3))
    assert asked_differently(thirds, crossed) == "the same settings in other combinations"
