"""Foreign text is shown as text by every output, each read by a parser that repairs nothing."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import hostile
import pytest
import sites
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from readers import read_html, read_latex
from typer.testing import CliRunner

from harness.cli import app
from harness.exports.csv_text import harmless
from harness.exports.formats import Wanted, write
from harness.exports.latex import escaped
from harness.exports.markdown import escaped as as_markdown
from harness.exports.parts import Exported
from harness.exports.printed import one_line
from harness.groups import group_summaries
from harness.pages.render import render_site
from harness.pages.suite_view import leading_point
from harness.quantities import plain
from harness.resources import Folders
from harness.store import Store
from harness.suite import load_suite
from harness.summarise import summarise

pytestmark = pytest.mark.slow

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_EMBEDDED = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)
_EVIDENCE = re.compile(r'moebenchEvidence\("[\w.-]+",(.*)\);\n', re.DOTALL)


class Built(NamedTuple):
    """A store and its site."""

    store: Store
    site: Path


def _built(folder: Path, texts: Mapping[str, str]) -> Built:
    store = sites.store_of(folder / "results", hostile.records(texts.values()))
    return Built(store, sites.render(store, folder / "site").parent)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return _built(tmp_path_factory.mktemp("bad"), hostile.TEXTS)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same with harmless names: whatever elements its pages have are those of the templates."""
    return _built(tmp_path_factory.mktemp("good"), hostile.benign_texts())


@pytest.fixture(scope="module")
def named(bad: Built) -> tuple[set[str], str]:
    """The headings of all models' pages, and the text of the index."""
    headings = {"".join(read_html(path).headings).strip() for path in (bad.site / "models").rglob("*.html")}
    return headings, "".join(read_html(bad.site / "index.html").text)


@pytest.fixture(scope="module")
def exported(bad: Built) -> Exported:
    models = summarise(bad.store.read(hostile.SUITE))
    return Exported(hostile.SUITE, (*models, *group_summaries(models)), leading_point(models), "mean_score")


def _unseen(text: str) -> set[str]:
    """The characters in a text that nobody sees, and line ends that nobody expects."""
    return {f"U+{ord(one):04X}" for one in text if unicodedata.category(one) in _UNSEEN and one not in "\n\t"}


# Pages -----------------------------------------------------------------------------------------------------------


def _shapes(site: Path) -> dict[str, set[tuple[str, str]]]:
    """The elements and attributes of all pages of one kind, by kind."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in site.rglob("*.html"):
        relative = path.relative_to(site)
        found[relative.parts[0] if len(relative.parts) > 1 else relative.name] |= read_html(path).shapes
    return found


def test_no_page_has_an_element_or_an_attribute_of_anybody_else(bad: Built, good: Built) -> None:
    theirs, ours = _shapes(bad.site), _shapes(good.site)
    assert set(theirs) == set(ours) >= {"index.html", "pairs.html", "pairs", "models", "method.html"}
    for kind, shapes in theirs.items():
        assert shapes <= ours[kind], kind


def test_no_page_leads_elsewhere_or_has_text_that_cannot_be_seen(bad: Built) -> None:
    for path in bad.site.rglob("*.html"):
        document = read_html(path)
        for address in document.addresses:
            assert address == "data:," or not re.match(r"\s*(?:[a-z][a-z0-9+.-]*:|//|\\)", address, re.IGNORECASE)
        assert not _unseen("".join((*document.text, *document.values))), path.name


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_each_model_is_named_on_its_page_and_on_the_index(named: tuple[set[str], str], text: str) -> None:
    headings, index = named
    assert plain(text, 200).strip() in headings
    assert plain(text, 60)[:59].strip() in index


def test_long_names_do_not_make_pages_large(bad: Built, good: Built) -> None:
    large, small = (max(path.stat().st_size for path in built.site.rglob("*.html")) for built in (bad, good))
    assert large < 2 * small


def test_data_in_scripts_stays_data(bad: Built) -> None:
    for path in bad.site.rglob("*.html"):
        for block in _EMBEDDED.findall(path.read_text(encoding="utf-8")):
            json.loads(block)
    files = list((bad.site / "evidence").rglob("*.js"))
    assert len(files) >= len(hostile.TEXTS)
    for path in files:
        text = path.read_text(encoding="utf-8")
        found = _EVIDENCE.fullmatch(text)
        assert found and "<" not in text and not _unseen(text), path.name
        json.loads(found[1])


def test_files_have_names_of_our_own(bad: Built) -> None:
    for path in bad.site.rglob("*"):
        if path.is_file() and "records" not in path.parts and path.name != ".moebench-site":
            assert re.fullmatch(r"[a-z0-9_-]+(?:\.min|\.schema)?\.[a-z0-9]+", path.name), path.name


def test_titles_and_descriptions_of_a_suite_are_text(good: Built, tmp_path: Path) -> None:
    text = hostile.TEXTS["script"] + hostile.TEXTS["attribute"] + "\u202e"
    pocket = load_suite(sites.SUITES / "pocket.yaml")
    suite = pocket.model_copy(update={"name": hostile.SUITE, "title": text[:120], "description": text})
    folders = Folders(sites.TEMPLATES)
    index = render_site(good.store, tmp_path / "site", folders=folders, definitions={hostile.SUITE: suite})
    document = read_html(index)
    assert "alert(1)" in "".join(document.text) and not _unseen("".join(document.text))
    assert document.shapes <= read_html(good.site / "index.html").shapes | {("p", "class")}


# Tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["models", "loads"])
def test_no_cell_of_csv_is_a_formula(exported: Exported, table: str) -> None:
    text = str(write("csv", exported, Wanted(table=table)))
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert {row[0] for row in rows[1:]} == {harmless(one.model) for one in exported.summaries}
    for cell in (cell for row in rows for cell in row):
        assert not _unseen(cell)
        for part in re.split("[;,\t\n]", cell):
            start = unicodedata.normalize("NFKC", part.lstrip(" \t\r\n\u00a0\u3000\ufffd"))[:1]
            assert start not in tuple("=+-@|%") or _is_number(cell), cell[:80]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_names_in_json_and_parquet_are_what_they_are(exported: Exported) -> None:
    names = [one.model for one in exported.summaries]
    document = json.loads(write("json", exported, Wanted()))
    assert [row["model"] for row in document["models"]["rows"]] == names
    import pyarrow.parquet as pq

    data = write("parquet", exported, Wanted())
    assert isinstance(data, bytes)
    assert pq.read_table(io.BytesIO(data)).column("model").to_pylist() == names


def test_columns_have_harmless_names_of_their_own(exported: Exported) -> None:
    for rows in (document := json.loads(write("json", exported, Wanted())))["models"], document["loads"]:
        names = [column["name"] for column in rows["columns"]]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"\w{1,160}", name) for name in names)
    tasks = {column["task"] for column in document["models"]["columns"] if "task" in column}
    assert tasks == set(hostile.TEXTS.values())


def _markdown(text: str) -> tuple[list[list[str]], set[str]]:
    """The cells of each row of a Markdown table as they are shown, and every kind of element within."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows: list[list[str]] = []
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        for child in token.children or ():
            kinds.add(child.type.removesuffix("_open").removesuffix("_close"))
        if token.type == "inline" and token.level > 2:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows, kinds


def test_markdown_shows_names_and_starts_nothing_of_theirs(exported: Exported) -> None:
    text = str(write("markdown", exported, Wanted(metrics=("mean_score", *_scores(exported)))))
    rows, kinds = _markdown(text)
    assert kinds <= {"table", "thead", "tbody", "tr", "th", "td", "inline", "paragraph", "text", "strong"}
    assert {len(row) for row in rows} == {len(rows[0])}
    names = [re.sub(r"( \(\d+\))+$", "", row[0]) for row in rows[1:]]
    assert names == [one_line(one.model, 120).strip() for one in exported.summaries]
    assert not re.search(r"(?<!\\)://|(?<!\\)@|www\.|(?<![&\\])#|\$", text)


def test_a_table_of_loads_shows_names_of_workloads_and_starts_nothing_of_theirs(exported: Exported) -> None:
    served = [(one.model, point.key.name) for one in exported.summaries for point in one.points]
    rows, kinds = _markdown(str(write("markdown", exported, Wanted(table="loads"))))
    assert kinds <= {"table", "thead", "tbody", "tr", "th", "td", "inline", "paragraph", "text", "strong"}
    assert {len(row) for row in rows} == {len(rows[0])}
    assert [row[2] for row in rows[1:]] == [one_line(f"{name}, 32 → 16 tokens", 120).strip() for _, name in served]
    table = read_latex(str(write("latex", exported, Wanted(table="loads"))))[:-1]
    assert {len(row) for row in table} == {len(rows[0])}
    assert [re.sub(r"( \(\d+\))+$", "", row[0]) for row in table[2:]] == [
        _in_ascii(one_line(model, 120)).strip() for model, _ in served
    ]


def _scores(exported: Exported) -> list[str]:
    return [f"score:{task}" for task in exported.tasks]


def test_latex_shows_names_and_runs_nothing_of_theirs(exported: Exported) -> None:
    text = str(write("latex", exported, Wanted(metrics=("mean_score", *_scores(exported)))))
    rows = read_latex(text)
    table = rows[:-1]
    assert {len(row) for row in table} == {len(exported.tasks) + 3}
    names = [re.sub(r"( \(\d+\))+$", "", row[0]) for row in table[2:]]
    assert names == [_in_ascii(one_line(one.model, 120)).strip() for one in exported.summaries]


def _in_ascii(text: str) -> str:
    """How LaTeX shows a text, accents left aside."""
    return "".join(map(_letter, unicodedata.normalize("NFC", text)))


def _letter(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    if character.isascii() or character == "…":
        return character
    return parts[0] if len(parts) == 2 and parts[0].isascii() else f"U+{ord(character):04X}"


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_latex_of_any_text_can_be_read_back(text: str) -> None:
    shown = one_line(text, 120)
    rows = read_latex(f"% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{ll}}\n{escaped(shown)} \\\\\n")
    assert rows[0] == [_in_ascii(shown).strip()]


@given(st.text(max_size=80))
def test_latex_of_anything_can_be_read_back(text: str) -> None:
    shown = one_line(text, 120)
    rows = read_latex(f"% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{ll}}\n|{escaped(shown)}| \\\\\n")
    assert len(rows) == 2 and len(rows[0]) == 1
    if shown.isascii():
        assert rows[0] == [f"|{shown}|"]


@given(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=60))
def test_markdown_of_anything_is_text(text: str) -> None:
    shown = one_line(text, 120)
    rows, kinds = _markdown(f"| a |\n| --- |\n| x{as_markdown(shown)}x |\n")
    assert rows[1:] == [[f"x{shown}x"]]
    assert kinds <= {"table", "thead", "tbody", "tr", "th", "td", "inline", "text"}


@given(st.text(max_size=60))
def test_csv_of_anything_is_no_formula(text: str) -> None:
    for part in re.split("[;,\t\n]", harmless(text)):
        assert unicodedata.normalize("NFKC", part.lstrip())[:1] not in tuple("=+-@")


# One model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_badges_are_plain_svg(exported: Exported, text: str) -> None:
    for wanted in (Wanted(text), Wanted(text, metrics=("output_tokens_per_s",)), Wanted(metrics=(f"score:{text}",))):
        root = ET.fromstring(str(write("badge", exported, wanted)))
        tags = [element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()]
        assert tags == ["svg", "title", "rect", "path", "g", "text", "text"]
        assert float(root.attrib["width"]) < 800
        assert not _unseen("".join(root.itertext()))
        assert root.attrib["aria-label"] == root[0].text


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_model_cards_are_read_back_by_the_hubs_own_library(exported: Exported, text: str) -> None:
    from huggingface_hub import ModelCard

    content = str(write("model-card", exported, Wanted(text, url="https://example.org/")))
    (card,) = (document for document in yaml.safe_load_all(content) if document)
    assert set(card) == {"model-index"} and not _unseen(content)
    data = ModelCard(f"{content}# A card\n").data
    assert data.model_name == one_line(text, 200)  # type: ignore[attr-defined]
    names = {one.dataset_name for one in data.eval_results}  # type: ignore[attr-defined]
    assert names <= {one_line(task, 200) for task in exported.tasks}


def test_a_model_card_that_was_scored_on_everything_has_everything(exported: Exported) -> None:
    first = next(iter(hostile.TEXTS.values()))
    card = next(iter(yaml.safe_load_all(str(write("model-card", exported, Wanted(first))))))
    results = card["model-index"][0]["results"]
    assert sum(len(result["metrics"]) for result in results) == len(exported.tasks)


# The terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [hostile.TEXTS[name] for name in ("row end", "link", "control", "bidi")])
def test_the_terminal_shows_names_and_obeys_none(bad: Built, text: str) -> None:
    first = next(iter(hostile.TEXTS.values()))
    result = CliRunner().invoke(
        app, ["compare", first, text, "--results", str(bad.store.root)], env={"COLUMNS": "200"}, terminal_width=200
    )
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output and "\u202e" not in result.output and "\x07" not in result.output
    assert plain(text, 20)[:8] in result.output
