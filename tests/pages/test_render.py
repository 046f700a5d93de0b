from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import builders
import pytest
import sites

from harness.errors import InputError
from harness.pages.render import MARKER, joined, render_site, script_json
from harness.resources import Folders
from harness.store import Store

pytestmark = pytest.mark.slow


class _Reader(HTMLParser):
    """What a page refers to, the ids that it has, and the tags that it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append(name)
            if name in ("href", "src") and value:
                self.references.append(value)
            if name == "id" and value:
                self.ids.append(value)


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    records = [*builders.small_suite_records(), *sites.awkward_records(), *sites.seed_records(2)]
    records += sites.hostile_records()
    return sites.store_of(tmp_path_factory.mktemp("records") / "results", records)


@pytest.fixture(scope="module")
def site(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sites.render(store, tmp_path_factory.mktemp("rendered") / "site").parent


# The folder ------------------------------------------------------------------------------------------------------


def test_a_site_is_one_folder_with_pages_assets_exports_and_records(store: Store, site: Path) -> None:
    names = set(_contents(site))
    assert {
        "index.html", "suite-seeds.html", "method.html", "data.csv", "data.json", "data-seeds.csv", "data-seeds.json",
        "assets/moebench.css", "assets/moebench.js", "assets/tables.js", "assets/tables.css", "assets/plotly.min.js",
        "models/small/moe-8x2.html", MARKER,
    } <= names
    assert not [path for path in site.parent.iterdir() if path != site]


def test_the_records_are_copied_as_they_are(store: Store, site: Path) -> None:
    source = store.files("small")[0]
    assert (site / "records" / source.relative_to(store.root)).read_bytes() == source.read_bytes()


def test_rendering_twice_gives_the_same_bytes(store: Store, site: Path, tmp_path: Path) -> None:
    again = sites.render(store, tmp_path / "again").parent
    assert _contents(again) == _contents(site)


def test_every_reference_leads_to_a_file_of_the_site(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    ids = {page: set(_read(page).ids) for page in pages}
    for page in pages:
        for reference in _read(page).references:
            if reference == "data:,":
                continue
            address, fragment = urldefrag(reference)
            target = (page.parent / unquote(address)).resolve() if address else page
            assert target.is_file(), f"{page.name}: {reference}"
            assert target.is_relative_to(site.resolve())
            if fragment:
                assert fragment in ids[target], f"{page.name}: {reference}"


def test_ids_are_unique_on_a_page(site: Path) -> None:
    for page in site.rglob("*.html"):
        ids = _read(page).ids
        assert len(ids) == len(set(ids)), page.name


# What is written where -------------------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_refused_and_kept(store: Store, tmp_path: Path) -> None:
    foreign = tmp_path / "site"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match="not written by moebench"):
        sites.render(store, foreign)
    assert (foreign / "thesis.tex").read_text(encoding="utf-8") == "years of work"
    assert list(tmp_path.iterdir()) == [foreign]


def test_an_own_site_is_replaced_with_nothing_stale_left(store: Store, tmp_path: Path) -> None:
    out = sites.render(store, tmp_path / "site").parent
    (out / "stale.html").write_text("old", encoding="utf-8")
    sites.render(store, out, ["small"])
    assert not (out / "stale.html").exists()
    assert not (out / "suite-seeds.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_empty_folder_is_taken(store: Store, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    assert sites.render(store, tmp_path / "site").is_file()


def test_a_failure_leaves_the_old_site(store: Store, tmp_path: Path) -> None:
    out = sites.render(store, tmp_path / "site").parent
    before = _contents(out)
    with pytest.raises(Exception, match=r"\.html"):
        render_site(store, out, folders=Folders(tmp_path))
    assert _contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_file_in_the_way_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "site").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a file"):
        sites.render(store, tmp_path / "site")


@pytest.mark.parametrize("place", [".", "site", ".."])
def test_site_and_records_do_not_share_a_folder(store: Store, place: str) -> None:
    with pytest.raises(InputError, match="share a folder"):
        sites.render(store, store.root / place)


def test_an_empty_store_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        sites.render(Store(tmp_path / "results"), tmp_path / "site")
    assert "moebench run suites/pocket.yaml" in str(caught.value)
    assert not (tmp_path / "site").exists()


def test_an_unknown_suite_names_the_nearest(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'small'"):
        sites.render(store, tmp_path / "site", ["smal"])


# Hostile text ----------------------------------------------------------------------------------------------------


def test_hostile_strings_are_text_on_every_page(site: Path) -> None:
    for page in site.rglob("*.html"):
        text, reader = page.read_text(encoding="utf-8"), _read(page)
        assert "<script>alert(1)" not in text, page.name
        assert "<img src=x" not in text, page.name
        assert "\u202e" not in text, page.name
        assert "img" not in reader.tags
        assert not [name for name in reader.attributes if name.startswith("on")]
    for name in ("index.html", "suite-hostile.html"):
        assert "{{ 7*7 }}" in (site / name).read_text(encoding="utf-8")


def test_hostile_names_give_harmless_files(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert re.fullmatch(r"[a-z0-9-]+\.html", path.name)


@pytest.mark.parametrize(("text", "expected"), [
    ("82.1 %", "82.1\u00a0%"), ("12\u202f300 tokens/s", "12\u202f300\u00a0tokens/s"), ("4.00 s", "4.00\u00a0s"),
    ("\u00b1 0.2", "\u00b1\u00a00.2"),
    ("69.3 % (95 % interval 67.9 to 70.8).", "69.3\u00a0% (95\u00a0% interval 67.9 to 70.8)."),
    ("3 models", "3 models"), ("8 s-curves", "8 s-curves"), ("rank 1 to 2", "rank 1 to 2"), ("", ""),
])
def test_numbers_stay_beside_their_units(text: str, expected: str) -> None:
    assert joined(text) == expected


def test_embedded_json_cannot_end_its_script() -> None:
    text = script_json({"name": "</script>&\u2028<!--"})
    assert text == '{"name":"\\u003c/script\\u003e\\u0026\\u2028\\u003c!--"}'


def test_pages_name_no_other_host(site: Path) -> None:
    for page in [*site.rglob("*.html"), site / "assets/moebench.css", site / "assets/moebench.js"]:
        assert not re.search(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}/", page.read_text(encoding="utf-8")), page.name


# Assets ----------------------------------------------------------------------------------------------------------
