"""Model cards and badges: what goes into the README.md of one model."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import builders
import pytest
import yaml
from exported_suites import exported_of
from huggingface_hub import ModelCard, parse_eval_result_entries
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.exports.badge import has_badge, model_badge, suite_badge
from harness.exports.formats import Wanted, write
from harness.exports.glyphs import text_width
from harness.exports.model_card import eval_results, has_card, model_card
from harness.exports.parts import Exported
from harness.items import item_error, item_estimate
from harness.record import Record
from harness.stats import Estimate, mean_estimate
from harness.summary import ModelSummary


def model_of(exported: Exported, name: str) -> ModelSummary:
    return next(one for one in exported.summaries if one.model == name)


class TestModelCard:
    def read(self, text: str) -> Any:
        return ModelCard(f"{text}# A model\n").data

    def test_the_hubs_library_reads_it_back(self, small: Exported) -> None:
        data = self.read(model_card(small, model_of(small, "moe-8x2"), "https://example.org/report/"))
        assert data.model_name == "moe-8x2"
        facts = next(one for one in data.eval_results if one.dataset_name == "facts")
        assert (facts.task_type, facts.dataset_type) == ("text-generation", "pocket_facts")
        assert (facts.metric_type, facts.metric_name) == ("exact_match", "exact_match,none")
        assert (facts.metric_value, facts.verified) == (0.795, False)
        assert (facts.source_name, facts.source_url) == ("moebench", "https://example.org/report/")
        spread = facts.metric_args
        assert spread["low"] < 0.795 < spread["high"] and spread["n"] == 200 and spread["confidence"] == 0.95
        assert spread["stderr"] == pytest.approx((0.795 * 0.205 / 199) ** 0.5)
        assert facts.dataset_args["num_fewshot"] == 0 and "limit" not in facts.dataset_args

    def test_without_an_address_there_is_no_source(self, small: Exported) -> None:
        (result, *_) = self.read(model_card(small, small.summaries[0])).eval_results
        assert result.source_url is None and result.source_name is None

    def test_tasks_of_one_lm_eval_task_stay_apart(self) -> None:
        scenarios = [
            builders.quality_scenario(task, lm_eval_task="same", num_fewshot=n) for task, n in (("a", 0), ("b", 5))
        ]
        suite = exported_of(*(builders.quality_record(scenario=one) for one in scenarios))
        results = self.read(model_card(suite, suite.summaries[0])).eval_results
        assert [(one.dataset_config, one.dataset_args["num_fewshot"]) for one in results] == [("a", 0), ("b", 5)]

    def test_random_weights_and_models_without_scores_have_none(self) -> None:
        dummy = builders.subject("dummy", weights="dummy")
        suite = exported_of(builders.quality_record(subject=dummy), builders.serving_record(model="fast"))
        for name, words in (("dummy", "random weights"), ("fast", "no scores")):
            assert not has_card(model_of(suite, name))
            with pytest.raises(InputError, match=words):
                model_card(suite, model_of(suite, name))


    def test_the_error_of_clustered_items_is_between_subtasks(self, small: Exported) -> None:
        model = model_of(small, "moe-8x2")
        items = {f"s{part}/{index}": float(part % 2 or index == 0) for part in range(6) for index in range(20)}
        score = replace(model.scores["facts"], items=items, estimate=item_estimate(items), error=item_error(items))
        suite = replace(small, summaries=(replace(model, scores={"facts": score}),))
        spread = self.read(model_card(suite, suite.summaries[0])).eval_results[0].metric_args
        # six subtasks whose means are 0.05 and 1 in turns: s / sqrt 6 of these six
        assert spread["stderr"] == pytest.approx(0.475 / 5**0.5)
        group = replace(score, items={}, estimate=mean_estimate([0.4, 0.5, 0.9], "trainings"))
        suite = replace(small, summaries=(replace(model, scores={"facts": group}),))
        spread = self.read(model_card(suite, suite.summaries[0])).eval_results[0].metric_args
        assert spread["stderr"] == pytest.approx((0.07 / 3) ** 0.5)


class TestEvalResults:
    def test_the_hubs_library_reads_it_back(self, small: Exported) -> None:
        model = model_of(small, "moe-8x2")
        text = eval_results(small, model, {"facts": "acme/facts:easy", "sort": "acme/sort"}, "https://example.org/")
        facts, sort = parse_eval_result_entries(yaml.safe_load(text))
        assert (facts.dataset_id, facts.task_id, facts.value) == ("acme/facts", "easy", 0.795)
        assert (sort.dataset_id, sort.task_id, sort.source_url) == ("acme/sort", "default", "https://example.org/")
        assert facts.notes is not None and "n 200" in facts.notes
        assert facts.date == (model.scores["facts"].started_at or model.started_at).isoformat()

    def test_each_score_has_the_date_of_its_own_record(self) -> None:
        suite = exported_of(
            builders.quality_record(), builders.quality_record(task="sort", minutes=60 * 24), builders.serving_record(
                minutes=60 * 48),
        )
        text = eval_results(suite, suite.summaries[0], {"facts": "acme/facts", "sort": "acme/sort"})
        dates = [one.date for one in parse_eval_result_entries(yaml.safe_load(text))]
        assert dates == [(builders.START + timedelta(days=days)).isoformat() for days in (0, 1)]

    def test_what_is_missing_is_named(self, small: Exported) -> None:
        model = small.summaries[0]
        for datasets, words in (({}, "not known"), ({"fact": "a/b"}, "'facts'"), ({"facts": "b"}, "owner/name")):
            with pytest.raises(InputError, match=words):
                eval_results(small, model, datasets)


class TestBadge:
    def texts(self, svg: str) -> list[str]:
        return ["".join(one.itertext()) for one in ET.fromstring(svg).iter() if one.tag.endswith("}text")]

    def test_of_a_model(self, small: Exported) -> None:
        model = model_of(small, "moe-8x2")
        model = replace(model, mean_score=Estimate(0.745, 0.735, 0.755, 9, "x"))
        assert self.texts(model_badge(small, model)) == ["small: mean score", "74.5 % ± 1.0"]
        assert self.texts(model_badge(small, model, "ttft_p50_s"))[0] == "small: time to first token p50, 16 concurrent"
        assert self.texts(model_badge(small, model, "score:facts"))[0] == "small: facts"
        assert self.texts(model_badge(small, model, "weights_bytes"))[1] == "661 kB"

    def test_the_title_says_all_of_it(self, small: Exported) -> None:
        root = ET.fromstring(model_badge(small, model_of(small, "moe-8x2"), "score:facts"))
        assert root.attrib["aria-label"].startswith("moe-8x2, small: facts: 79.5 % (95 % interval ")
        assert root.attrib["role"] == "img"

    def test_of_a_suite_with_a_leader_and_with_a_tie(self, small: Exported) -> None:
        def with_scores(*values: float) -> Exported:
            estimates = [Estimate(value, value - 0.01, value + 0.01, 9, "x") for value in values]
            changed = [replace(one, mean_score=two) for one, two in zip(small.summaries, estimates, strict=True)]
            return replace(small, summaries=tuple(changed))

        leading = suite_badge(with_scores(0.5, 0.6, 0.7, 0.8))
        assert self.texts(leading) == ["small: mean score", "moe-fine 80.0 % ± 1.0"]
        tied = suite_badge(with_scores(0.5, 0.6, 0.795, 0.8))
        assert self.texts(tied)[1] == "2 of 4 models share rank 1"
        assert "moe-8x2, moe-fine" in ET.fromstring(tied).attrib["aria-label"]

    def test_a_shared_rank_has_its_true_reason(self, small: Exported) -> None:
        alike = replace(small, summaries=tuple(
            replace(one, mean_score=Estimate(0.5, 0.5, 0.5, 9, "x")) for one in small.summaries[:2]
        ))
        title = ET.fromstring(suite_badge(alike)).attrib["aria-label"]
        assert "2 of 2 models share rank 1, as their values are equal, among them" in title

    def test_only_what_nobody_else_has_is_the_only_one(self) -> None:
        def title(*records: Record) -> str:
            return ET.fromstring(suite_badge(exported_of(*records, score="score:facts"))).attrib["aria-label"]

        good, poor, other = (
            builders.quality_record(model=model, item_scores=(value,) * 50, scenario=builders.quality_scenario(
                num_fewshot=shots))
            for model, value, shots in (("good", 1.0, 0), ("poor", 0.0, 0), ("other", 1.0, 3))
        )
        assert "only good is measured, " in title(good)
        assert "good leads, " in title(good, poor)
        assert "good is first of those asked alike, " in title(good, poor, other)
        trained = [
            builders.quality_record(
                model=f"{name}-{seed}", group=name, item_scores=(1.0,) * right + (0.0,) * (50 - right))
            for name, least in (("a", 40), ("b", 10)) for seed, right in enumerate(range(least, least + 3))
        ]
        assert "of the recipes, a leads, " in title(*trained, good) and "of the recipes" not in title(*trained)
        for pair in ((good, other), (other, good)):
            with pytest.raises(InputError, match="no leader: asked otherwise than others"):
                title(*pair)

    def test_without_a_score_it_shows_what_there_is(self) -> None:
        suite = exported_of(builders.serving_record(), builders.serving_record(model="x", subject=builders.subject(
            "dummy", weights="dummy")))
        assert self.texts(model_badge(suite, model_of(suite, "moe-8x2")))[1].startswith("1\u202f000 tokens/s")
        assert "parameters" in self.texts(model_badge(suite, model_of(suite, "dummy")))[0]
        assert not has_badge(suite) and has_badge(suite, suite.summaries[0])

    def test_what_is_missing_is_named(self, small: Exported) -> None:
        with pytest.raises(InputError, match=r"(?s)no mfu.*known"):
            model_badge(small, small.summaries[0], "mfu")
        with pytest.raises(InputError, match="no better end"):
            suite_badge(small, "total_parameters")
        with pytest.raises(InputError, match="known of no model"):
            suite_badge(small, "joules_per_output_token")
        with pytest.raises(InputError, match="one metric"):
            write("badge", small, Wanted(metrics=("mean_score", "score:facts")))

    def test_fields_are_as_wide_as_their_text(self, small: Exported) -> None:
        root = ET.fromstring(model_badge(small, small.summaries[0]))
        texts = [one for one in root.iter() if one.tag.endswith("}text")]
        widths = [float(one.attrib["textLength"]) for one in texts]
        assert [round(text_width(one.text or "", 11)) for one in texts] == widths
        assert sum(widths) + 24 == float(root.attrib["width"])
        assert float(texts[1].attrib["x"]) == widths[0] + 18


class TestWidths:
    def test_those_of_the_font(self) -> None:
        assert text_width("Hello", 1000) == 722 + 556 + 222 + 222 + 556
        assert text_width("\u00e9", 1000) == text_width("e", 1000) and text_width("e\u0301", 1000) == 556
        assert text_width("\u4f60", 1000) == 1000

    @given(st.text(), st.text())
    def test_they_add_up(self, a: str, b: str) -> None:
        assert text_width(a + b, 11) == pytest.approx(text_width(a, 11) + text_width(b, 11))
