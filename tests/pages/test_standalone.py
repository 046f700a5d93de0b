from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import builders
import pytest
import sites
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError
from harness.pages import standalone
from harness.pages.inlining import inert_file, inert_text, inline_script, inline_style
from harness.pages.standalone import render_standalone, size_warning
from harness.resources import Folders
from harness.store import Store

pytestmark = pytest.mark.slow

FOLDERS = Folders(sites.TEMPLATES)
TRAPS = st.sampled_from(["<", "<\\", "\\", "</script>", "<!--", "<SCRIPT", "</template>", "]]>", "-->", "a", "\n"])


class _Scripts(HTMLParser):
    """A document as a browser reads it: the script elements with their text, and every other tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append((dict(attrs), ""))
        else:
            self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._inside:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)


def _read_back(text: str) -> str:
    """What standalone.js makes of inert text."""
    return re.sub(r"<\\(\\*)(?=/?script|!--)", r"<\1", text, flags=re.IGNORECASE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    records = [*builders.small_suite_records(), *sites.awkward_records(), *sites.hostile_records()]
    return sites.store_of(tmp_path_factory.mktemp("records") / "results", records)


@pytest.fixture(scope="module")
def report(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "report.html"
    return render_standalone(store, out, ["small", "hostile"], folders=FOLDERS)


@pytest.fixture(scope="module")
def document(report: Path) -> _Scripts:
    return _Scripts(report.read_text(encoding="utf-8"))


# Text that must not end its element ------------------------------------------------------------------------------


@given(st.lists(TRAPS).map("".join) | st.text())
def test_inert_text_cannot_end_its_element_and_comes_back(text: str) -> None:
    inert = inert_text(text)
    assert not re.search("</?script|<!--", inert, re.IGNORECASE)
    assert _read_back(inert) == text


@given(st.lists(TRAPS).map("".join))
def test_a_script_and_a_style_stay_inside_their_elements(text: str) -> None:
    assert not re.search("</script|<!--", inline_script(text), re.IGNORECASE)
    assert not re.search("</style", inline_style(text + "</style>"), re.IGNORECASE)


def test_an_escaped_script_means_the_same() -> None:
    assert inline_script('f("</script>", /<!--x/, a < b)') == 'f("\\x3c/script>", /\\x3c!--x/, a < b)'


@pytest.mark.parametrize("content", [b"\x00\xff", b"a\r\nb", b"PAR1\x00"])
def test_files_that_html_would_change_are_kept_in_base64(content: bytes) -> None:
    assert "data-base64>" in inert_file("a", content)
    assert "data-base64>" not in inert_file("a", "ä,ö\n".encode())


# The file --------------------------------------------------------------------------------------------------------


def test_every_page_of_the_site_is_inside(store: Store, report: Path, document: _Scripts, tmp_path: Path) -> None:
    folder = sites.render(store, tmp_path / "site", ["small", "hostile"]).parent
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    inside = {str(attributes["data-page"]) for attributes, _ in document.scripts if "data-page" in attributes}
    assert inside | {"index.html"} == pages
    assert [str(tag[1].get("data-first")) for tag in document.tags if tag[0] == "html"] == ["index.html"]


def test_a_page_inside_is_what_the_folder_shows(store: Store, document: _Scripts, tmp_path: Path) -> None:
    folder = sites.render(store, tmp_path / "site", ["small", "hostile"]).parent
    held = {attributes["data-page"]: text for attributes, text in document.scripts if "data-page" in attributes}
    for path in ("models/small/moe-8x2.html", "suite-hostile.html"):
        whole = (folder / path).read_text(encoding="utf-8")
        shown = whole[whole.index("<main"):whole.index("</main>")]
        inside = _read_back(held[path])
        inside = inside[inside.index("<main"):inside.index("</main>")]
        links = r'</?a\b[^>]*>|</?button\b[^>]*>|<span class="unseen">: (?:results/|not in this)[^<]*</span>'
        assert re.sub(links, "", shown) == re.sub(links, "", inside)


def test_links_lead_to_what_is_inside(document: _Scripts) -> None:
    pages = {str(attributes["data-page"]) for attributes, _ in document.scripts if "data-page" in attributes}
    files = {str(attributes["data-file"]) for attributes, _ in document.scripts if "data-file" in attributes}
    texts = [_read_back(text) for attributes, text in document.scripts if "data-page" in attributes]
    links = [tag[1]["href"] for text in texts for tag in _Scripts(text).tags if tag[1].get("href")]
    links += [tag[1]["href"] for tag in document.tags if tag[1].get("href")]
    for link in links:
        target = re.fullmatch(r"#/([^#?]*)(?:[#?].*)?", str(link))
        assert str(link) == "data:," or str(link).startswith("#"), link
        assert target is None or target[1] in pages | files | {"index.html"}, link


def test_a_record_is_named_where_the_folder_links_it(store: Store, document: _Scripts) -> None:
    source = store.files("small")[0].relative_to(store.root).as_posix()
    text = "".join(_read_back(text) for attributes, text in document.scripts if "data-page" in attributes)
    assert f'data-tip="results/{source}"' in text
    assert "records/small" not in text


def test_nothing_is_asked_of_another_file(document: _Scripts) -> None:
    assert not [tag for tag in document.tags if "src" in tag[1] or (tag[0] == "link" and tag[1].get("rel") != "icon")]
    assert not [attributes for attributes, _ in document.scripts if "src" in attributes]
    policies = [tag[1]["content"] or "" for tag in document.tags if tag[1].get("http-equiv")]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")


def test_hostile_strings_are_text(document: _Scripts) -> None:
    assert not [tag for tag in document.tags if tag[0] == "img" or any(name.startswith("on") for name in tag[1])]
    for attributes, text in document.scripts:
        assert "alert(1)" not in text or attributes.get("type") in ("text/plain", "application/json")
        if "data-page" in attributes:
            inner = _Scripts(_read_back(text))
            assert not [tag for tag in inner.tags if tag[0] == "img"]
            assert not [one for one, _ in inner.scripts if one.get("type") != "application/json"]


def test_exports_are_inside_unless_they_are_large(
    store: Store, document: _Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sites.render(store, tmp_path / "site", ["small", "hostile"]).parent
    held = {attributes["data-file"]: text for attributes, text in document.scripts if "data-file" in attributes}
    assert _read_back(held["data.json"]) == (folder / "data.json").read_text(encoding="utf-8")
    monkeypatch.setattr(standalone, "EXPORT_LIMIT_BYTES", 100)
    out = render_standalone(store, tmp_path / "small.html", ["small"], folders=FOLDERS)
    text = out.read_text(encoding="utf-8")
    assert 'data-file="data.json"' not in text
    assert 'data-tip="not in this file: data.json"' in text


def test_rendering_twice_gives_the_same_bytes(store: Store, report: Path, tmp_path: Path) -> None:
    again = render_standalone(store, tmp_path / "again.html", ["small", "hostile"], folders=FOLDERS)
    assert again.read_bytes() == report.read_bytes()


# What is written where -------------------------------------------------------------------------------------------


def test_an_own_report_is_replaced(store: Store, tmp_path: Path) -> None:
    out = render_standalone(store, tmp_path / "one.html", ["small", "hostile"], folders=FOLDERS)
    before = out.stat().st_size
    assert render_standalone(store, out, ["small"], folders=FOLDERS).stat().st_size < before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("content", ["<!doctype html><p>years of work", "", "\0\xff"])
def test_a_file_of_somebody_else_is_refused_and_kept(store: Store, tmp_path: Path, content: str) -> None:
    out = tmp_path / "thesis.html"
    out.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="not written by moebench"):
        render_standalone(store, out, folders=FOLDERS)
    assert out.read_text(encoding="utf-8") == content


def test_a_folder_in_the_way_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        render_standalone(store, tmp_path, folders=FOLDERS)


@pytest.mark.parametrize("name", ["report", "report.txt", "report.v2"])
def test_a_file_that_no_browser_would_show_as_a_page_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"give --out {name}.html"):
        render_standalone(store, tmp_path / name, folders=FOLDERS)
    assert not (tmp_path / name).exists()


def test_a_failure_leaves_the_old_report(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = render_standalone(store, tmp_path / "one.html", ["small"], folders=FOLDERS)
    before = out.read_bytes()

    def broken(*_: object) -> str:
        raise InputError("nothing works")

    monkeypatch.setattr(standalone, "inert_page", broken)
    with pytest.raises(InputError, match="nothing works"):
        render_standalone(store, out, ["small"], folders=FOLDERS)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_large_report_is_named_as_such(tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    out.write_bytes(b"")
    assert size_warning(out) == ""
    with out.open("wb") as file:
        file.truncate(standalone.LARGE_BYTES + 1)
    assert "50 MB" in size_warning(out)


def test_the_command_writes_one_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["report", "--standalone", "--results", str(store.root), "--suite", "small"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "site.html"
    assert [path.name for path in tmp_path.iterdir()] == ["site.html"]
    monkeypatch.setattr(standalone, "LARGE_BYTES", 1_000)
    done = CliRunner().invoke(app, [*arguments, "--out", "other.html"])
    assert done.stdout.strip() == "other.html"
    assert "slow to open" in done.stderr
