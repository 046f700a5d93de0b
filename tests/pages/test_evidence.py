"""What stands behind every number of a page: nothing is missing, and it is what the summaries say."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import builders
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st

from harness.pages.evidence import FIRST_ITEMS, _Evidence, evidence_files
from harness.pages.parts import EvidenceFile, RecordIndex
from harness.pages.site import Site, build_site
from harness.pages.suite_view import SuiteView, subjects_of
from harness.record import Record
from harness.scenario import Offline, OpenLoop
from harness.stats import Estimate, counted, mean_estimate
from harness.store import Store
from harness.summarise import summarise
from harness.summary import ModelSummary, PointKey

pytestmark = pytest.mark.slow

NAME = re.compile(r"_?[a-z0-9-]+\._?[a-z0-9-]+\.[a-z0-9_]+(\.[a-z0-9-]+)?")
_NUMBER = re.compile(r'<(\w+)[^>]*\sdata-evidence="([^"]*)"')


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every awkward suite there is, rendered; `results` beside the site."""
    folder = tmp_path_factory.mktemp("evidence")
    records = [*builders.small_suite_records(), *sites.awkward_records(), *sites.seed_records()]
    store = sites.store_of(folder / "results", [*records, *sites.hostile_records(), *sites.load_records()])
    sites.render(store, folder / "site", ["small", "seeds", "hostile", "loads"], catalog=True)
    return folder


@pytest.fixture(scope="module")
def rendered(store_folder: Path) -> Path:
    """The site's folder."""
    return store_folder / "site"


@pytest.fixture(scope="module")
def built(store_folder: Path) -> Site:
    """The same as page models."""
    return build_site(Store(store_folder / "results"), ["small", "seeds", "hostile", "loads"], named=True)


def _written(site: Path) -> dict[str, Any]:
    """Every evidence file of a site as it lies there, by the first part of its names."""
    found = {}
    for path in sorted((site / "evidence").rglob("*.js")):
        name, content = json.loads(f"[{path.read_text(encoding='utf-8').removeprefix('moebenchEvidence(')[:-3]}]")
        found[name] = content
    return found


def _named_on(path: Path) -> Iterator[str]:
    """Every name of evidence on a page; those of a table of models are put together from its rows and columns."""
    text = path.read_text(encoding="utf-8")
    for tag, name in _NUMBER.findall(text):
        if tag == "button":
            yield from html.unescape(name).split(" ")
    for sides, part in re.findall(r'<(?:tr|article)[^>]*data-sides="([^"]+)"(.*?)</(?:tr|article)>', text, re.DOTALL):
        yield from (f"{side}.{rest}" for rest in re.findall(r'data-rest="([^"]+)"', part) for side in sides.split(" "))
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        heads = [_attribute(head, "evidence") for head in re.findall(r'<th scope="col"[^>]*>', table)]
        for name, row in re.findall(r'<tr[^>]*data-evidence="([^"]+)"[^>]*>(.*?)</tr>', table, re.DOTALL):
            orders = [_attribute(cell, "order") for cell in re.findall(r"<t[dh]\b[^>]*>", row)]
            known = zip(heads, orders, strict=False)  # the cells of later columns come when they are asked for
            yield from (f"{name}.{column}" for column, order in known if column and order)


_WITHOUT = {
    "Share", "Records", "Repeats", "Examples shown", "lm-eval task", "Metric", "At", "95 % interval", "p", "How",
    "Item", "Target",
}
"""Columns of models and pairs whose numbers say how something was measured, or belong to the number beside them."""


class _Tables(HTMLParser):
    """Finds cells that have a digit and neither a drawer nor a link, with the title of their column."""

    def __init__(self) -> None:
        super().__init__()
        self.lacking: list[tuple[str, str]] = []
        self._heads: list[str] = []
        self._place, self._inside, self._text, self._opens = 0, False, "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "thead":
            self._heads = []
        elif tag == "th" and given.get("scope") == "col":
            self._heads.append(given.get("data-label") or "")
        elif tag == "tr":
            self._place = 0
        elif tag == "th":
            self._place += 1
        elif tag == "td":
            self._inside, self._text, self._opens = True, "", False
        self._opens |= bool({"data-evidence", "data-rest", "data-cell", "href", "data-tip"} & given.keys())

    def handle_endtag(self, tag: str) -> None:
        if tag != "td":
            return
        if re.search(r"\d", self._text) and not self._opens and self._place < len(self._heads):
            self.lacking.append((self._heads[self._place], self._text.strip()))
        self._place, self._inside = self._place + 1, False

    def handle_data(self, data: str) -> None:
        self._text += data if self._inside else ""


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'data-{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else ""


def _view(records: list[Record]) -> SuiteView:
    models = summarise(builders.with_paths(records))
    pages = {model.model: f"models/small/m{index}.html" for index, model in enumerate(models)}
    point = max((point.key for model in models for point in model.points), default=None)
    tasks = tuple(dict.fromkeys(task for model in models for task in model.scores))
    records_of = RecordIndex(Path("results"))
    return SuiteView("small", "Small", "", "", models, (), point, tasks, "mean_score", records_of, pages)


def _of(view: SuiteView, model: str) -> EvidenceFile:
    return next(file for file in evidence_files(view) if file.content["title"] == model)


def _model(view: SuiteView, name: str) -> ModelSummary:
    return next(model for model in view.models if model.model == name)


class TestEveryNumber:
    def test_of_every_page_is_in_a_file(self, rendered: Path) -> None:
        files = _written(rendered)
        pages = sorted(rendered.rglob("*.html"))
        seen = 0
        for path in pages:
            for name in _named_on(path):
                suite, model, key = name.split(".", 2)
                assert key in files[f"{suite}.{model}"]["estimates"], f"{path.name}: {name}"
                seen += 1
        assert seen > 1000

    def test_of_a_model_or_a_pair_has_one(self, rendered: Path) -> None:
        """But for conditions, such as repeats, for intervals and p, which stand beside what has one, and answers."""
        pages = [*sorted((rendered / "models").rglob("*.html")), *sorted((rendered / "pairs").rglob("*.html"))]
        lacking: dict[str, str] = {}
        for path in pages:
            reader = _Tables()
            reader.feed(path.read_text(encoding="utf-8"))
            found = [(column, text) for column, text in reader.lacking if column and column not in _WITHOUT]
            lacking |= {column: f"{path.name}: {text}" for column, text in found}
        assert lacking == {}

    def test_leads_to_records_that_are_there(self, rendered: Path) -> None:
        for name, content in _written(rendered).items():
            if name.startswith("_runs"):  # see tests/pages/test_runs_evidence.py
                continue
            assert all((rendered / row["href"]).is_file() for row in content["records"])
            measured = {index for told in content["estimates"].values() if "sources" in told
                        for index in content["sources"][told["sources"]]}
            assert {content["records"][index]["state"] for index in measured} <= {"completed"}
            used = {told["sources"] for told in content["estimates"].values() if "sources" in told}
            used |= {content["config"]["sources"]} if "sources" in (content["config"] or {}) else set()
            assert used == set(range(len(content["sources"])))
            known = {index for indices in content["sources"] for index in indices}
            assert known == set(range(len(content["records"])))

    def test_is_the_number_of_the_summary(self, built: Site) -> None:
        for view in (suite.view for suite in built.suites):
            files = {file.name: file.content for file in evidence_files(view)}
            for model in subjects_of(view.models, view.groups):
                content = files[view.evidence_of[model.model, bool(model.members)]]
                for point in model.points:
                    for key, estimate in point.estimates.items():
                        name = view.evidence(model, key, point.key).split(".", 2)[2]
                        told = content["estimates"][name]
                        assert told["value"] == pytest.approx(estimate.value, rel=1e-8)
                        assert told.get("values", []) == pytest.approx(list(estimate.values), rel=1e-8)
                        repeats = 1 if estimate.basis == "counted" else estimate.n
                        assert told["n"] == repeats and "formula" in content["metrics"][key]

    def test_has_the_command_the_model_and_the_machine(self, rendered: Path) -> None:
        content = _written(rendered)["small.moe-8x2"]
        assert shlex.split(content["command"]) == [
            "moebench", "run", "<the file of the suite small>", "--model", "moe-8x2", "--results", "again",
        ]
        terms = dict(content["subject"]) | dict(content["environment"])
        assert terms["Revision"].startswith("sha256:") and terms["Precision"] == "bfloat16"
        assert "vllm 0.32.0" in terms["Versions"] and terms["Commit"] == builders.ENVIRONMENT.commit
        assert json.loads(content["engine"]) == {"max_model_len": 256}


class TestNames:
    def test_are_safe_in_addresses_and_on_a_disk(self, built: Site, rendered: Path) -> None:
        files = _written(rendered)
        for name, content in files.items():
            assert all(NAME.fullmatch(f"{name}.{key}") for key in content["estimates"])
        counted = {name for name in files if name.startswith("_catalog.")}
        assert counted and files.keys() - counted == {file.name for file in built.evidence_files()}

    @given(st.lists(st.text(max_size=12), min_size=1, max_size=5, unique=True))
    def test_no_two_tasks_share_one(self, tasks: list[str]) -> None:
        view = _view([builders.quality_record(task=task) for task in tasks])
        names = [view.evidence(view.models[0], f"score:{task}") for task in tasks]
        assert len(set(names)) == len(tasks) and all(map(NAME.fullmatch, names))

    def test_no_two_points_share_one(self) -> None:
        loads = (None, Offline(), OpenLoop(requests_per_s=2.0), OpenLoop(requests_per_s=2.0, burstiness=0.5))
        scenarios = [builders.serving_scenario(load=load) for load in loads]
        scenarios += [builders.serving_scenario(prompt_tokens=64), builders.serving_scenario(version=1)]
        view = _view([builders.serving_record(scenario=one) for one in scenarios])
        keys = [PointKey.of(one) for one in scenarios]
        assert len({view.evidence(view.models[0], "ttft_p50_s", key) for key in keys}) == len(keys)

    def test_what_is_not_measured_at_a_load_has_none_in_its_name(self) -> None:
        view = _view(builders.small_suite_records(repeats=1, items=4))
        model = view.models[0]
        assert view.evidence(model, "weights_bytes", view.point) == view.evidence(model, "weights_bytes")

    def test_a_model_without_a_page_has_none(self) -> None:
        view = replace(_view([builders.serving_record()]), page_of={})
        assert view.evidence(view.models[0], "ttft_p50_s", view.point) == "" and not list(evidence_files(view))


class TestScores:
    def test_tell_right_from_wrong_items(self) -> None:
        scores = (1.0, 0.0, 1.0) * 10
        view = _view([builders.quality_record(item_scores=scores)])
        told = _of(view, "moe-8x2").content["estimates"]["score.facts"]
        assert told["items"]["count"] == 30
        assert told["items"]["spread"] == [["right", "20 items"], ["wrong", "10 items"]]
        assert [score for _, score in told["items"]["first"]] == list(scores[:FIRST_ITEMS])

    def test_of_many_values_have_quartiles(self) -> None:
        view = _view([builders.quality_record(item_scores=tuple(i / 100 for i in range(101)))])
        spread = _of(view, "moe-8x2").content["estimates"]["score.facts"]["items"]["spread"]
        assert [value for _, value in spread] == ["0", "0.25", "0.5", "0.75", "1"]

    def test_have_the_command_of_lm_eval_where_its_arguments_are_known(self) -> None:
        record = builders.quality_record()
        arguments = {"model_args": {"dtype": "bfloat16"}, "num_fewshot": 2, "limit": None, "apply_chat_template": True}
        measured = record.outcome.measurement.model_copy(update={"arguments": arguments})  # type: ignore[union-attr]
        known = record.model_copy(update={"outcome": record.outcome.model_copy(update={"measurement": measured})})
        words = shlex.split(_of(_view([known]), "moe-8x2").content["estimates"]["score.facts"]["command"])
        assert words[:4] == ["lm_eval", "run", "--model", "vllm"]
        assert json.loads(words[words.index("--model_args") + 1]) == {
            "pretrained": "suites/pocket/moe-8x2", "dtype": "bfloat16",
        }
        assert ("--num_fewshot", "2") in pairwise(words) and "--apply_chat_template" in words
        assert "--limit" not in words and ("--tasks", "pocket_facts") in pairwise(words)
        assert "command" not in _of(_view([record]), "moe-8x2").content["estimates"]["score.facts"]

    def test_of_a_mean_name_their_tasks(self) -> None:
        view = _view([builders.quality_record(task=task) for task in builders.TASKS])
        content = _of(view, "moe-8x2").content
        parts = content["estimates"]["mean_score"]["parts"]
        assert [task for task, _ in parts] == list(builders.TASKS)
        assert all(name.split(".", 2)[2] in content["estimates"] for _, name in parts)


class TestIntervals:
    @pytest.mark.parametrize(("values", "basis", "more"), [
        ((1.0, 1.0, 1.0), "3 processes that do not differ at all, no interval can be told", {"alone": True}),
        ((1.0, 1.0 - 1e-13, 1.0), "3 values that do not differ at all, no interval can be told", {"alone": True}),
        ((0.5, 0.6, 0.7), "T interval over 3 processes", {"low": 0.351586, "high": 0.848414}),
    ])
    def test_without_width_are_none(self, values: tuple[float, ...], basis: str, more: dict[str, object]) -> None:
        estimate = mean_estimate(values, "processes", lowest=0.0, highest=1.0)
        assert self._told(estimate) == {"basis": basis, "n": 3, **more}

    def test_of_counted_numbers_have_no_n(self) -> None:
        assert self._told(replace(counted(0.5), n=3)) == {"basis": "Counted", "n": 1}

    def _told(self, estimate: Estimate) -> dict[str, object]:
        view = _view([builders.quality_record(task=task) for task in builders.TASKS])
        model = replace(_model(view, "moe-8x2"), mean_score=estimate)
        name = view.evidence_of[model.model, False]
        content = _Evidence(view, model, name).content()
        told = content["estimates"]["mean_score"]
        ends = {key: pytest.approx(told[key], abs=1e-5) for key in ("low", "high") if key in told}
        alone = {"alone": True} if "alone" in told else {}
        return {"basis": content["bases"][told["basis"]], "n": told["n"], **ends, **alone}


class TestCounts:
    @pytest.mark.parametrize("key", ["total_parameters", "active_parameters", "active_non_embedding_parameters"])
    @pytest.mark.parametrize("model", list(builders.CONFIGS))
    def test_of_parameters_add_up(self, model: str, key: str) -> None:
        view = _view([builders.serving_record(model=model)])
        told = _of(view, model).content["estimates"][key]
        assert sum(int(text.replace("\u202f", "")) for _, text in told["terms"]) == told["value"]

    @pytest.mark.parametrize("model", list(builders.CONFIGS))
    def test_of_parts_of_parameters_add_up_to_the_total(self, model: str) -> None:
        estimates = _of(_view([builders.serving_record(model=model)]), model).content["estimates"]
        parts = {name: told for name, told in estimates.items() if name.startswith("parameters.")}
        assert sum(told["value"] for told in parts.values()) == estimates["total_parameters"]["value"]
        for told in parts.values():
            assert sum(int(text.replace("\u202f", "")) for _, text in told["terms"]) == told["value"]

    def test_name_the_configuration_and_its_record(self, rendered: Path) -> None:
        content = _written(rendered)["small.moe-8x2"]
        assert ["hidden_size", str(builders.CONFIGS["moe-8x2"]["hidden_size"])] in content["config"]["terms"]
        [index] = content["sources"][content["config"]["sources"]]
        record = json.loads((rendered / content["records"][index]["href"]).read_text(encoding="utf-8"))
        assert record["config"]["hidden_size"] == builders.CONFIGS["moe-8x2"]["hidden_size"]
        counted = {name for name, told in content["estimates"].items() if told.get("counted")}
        assert {"total_parameters", "parameters.attention", "kv_bytes_per_token"} <= counted
        assert "weights_bytes" not in counted and not any(name.startswith("ttft") for name in counted)

    def test_of_arithmetic_stand_where_nothing_was_served(self) -> None:
        failed = builders.failed_record(model="dense-total", scenario=builders.serving_scenario(8))
        view = _view([builders.serving_record(), failed])
        model = _model(view, "dense-total")
        assert view.point is not None
        name = view.evidence(model, "decode_flops_per_token", view.point)
        told = _of(view, "dense-total").content["estimates"][name.split(".", 2)[2]]
        assert told["terms"][0][0] == "context" and told["value"] > 0


class TestRecipes:
    def test_lead_to_their_trainings(self, rendered: Path) -> None:
        files = _written(rendered)
        content = files["seeds._moe-8x2"]
        assert content["command"].count("--model") == 3 and content["page"] == ""
        for told in content["estimates"].values():
            for _, name in told["members"]:
                suite, model, key = name.split(".", 2)
                assert key in files[f"{suite}.{model}"]["estimates"]
            if "values" in told and told["n"] == 3:
                assert len(told["members"]) == len(told["values"])


def test_an_import_names_its_tool_and_file(rendered: Path) -> None:
    origins = {row.get("origin") for row in _written(rendered)["loads.imported-moe"]["records"]}
    assert origins == {"vllm bench serve 0.32.0, from bench.json"}


def test_flags_and_notes_are_told_at_their_point(rendered: Path) -> None:
    points = _written(rendered)["loads.moe-fine"]["points"]
    assert any("flags" in point for point in points.values()) and any("notes" in point for point in points.values())


def test_hostile_text_cannot_leave_the_script(rendered: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (rendered / "evidence" / "hostile").iterdir()]
    assert len(texts) == 5
    assert not any("<" in text or "\u202e" in text or "\u2028" in text for text in texts)


def test_the_same_results_give_the_same_files(built: Site) -> None:
    def made() -> list[str]:
        return [json.dumps(file.content) for suite in built.suites for file in evidence_files(suite.view)]

    assert made() == made()
