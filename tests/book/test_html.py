"""The built pages: nothing comes from elsewhere, every picture is described, all is rendered.

Build them with `python3 make.py book`; without `_build/html` these tests are skipped.
"""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

HTML = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted([*HTML.glob("book/*.html"), *HTML.glob("notebooks/*.html")])
LOADS = {  # (tag, attribute) that make a browser fetch something; a plain link does not
    ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"),
    ("audio", "src"), ("embed", "src"), ("object", "data"), ("img", "srcset"), ("use", "href"),
}  # fmt: skip
FETCHED_LINKS = {"stylesheet", "preload", "icon", "shortcut", "modulepreload", "manifest"}

pytestmark = pytest.mark.skipif(
    not PAGES, reason="no built book in _build/html: run `python3 make.py book` first"
)


class Page(HTMLParser):
    """What one page loads, its pictures and figures, and the text of its article."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.alts: list[str | None] = []
        self.figures: list[str] = []  # the caption of each figure
        self.code: list[str] = []  # scripts and styles written in the page
        self.text: list[str] = []
        self._in_article = self._in_caption = False
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.loads += [url for name, url in attrs if (tag, name) in LOADS and url]
        if tag == "link" and FETCHED_LINKS & set((found.get("rel") or "").split()):
            self.loads.append(found.get("href") or "")
        self.code.append(found.get("style") or "")
        if tag == "article":
            self._in_article = True
        if tag == "img" and self._in_article:
            self.alts.append(found.get("alt"))
        if tag == "figure":
            self.figures.append("")
        if tag == "figcaption":
            self._in_caption = True
        if tag in ("script", "style", "pre", "code"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_article = False
        if tag == "figcaption":
            self._in_caption = False
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.code.append(data)
        elif self._in_caption and self.figures:
            self.figures[-1] += data.strip()
        if self._in_article and not self._open:
            self.text.append(data)


@cache
def read(path: Path) -> Page:
    return Page(path)


each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def is_external(url: str) -> bool:
    return url.startswith("//") or re.match(r"(?!data:)[a-z]+:", url) is not None


@each_page
def test_no_request_leaves_the_page(path):
    page = read(path)
    assert [url for url in page.loads if is_external(url)] == []
    styles = " ".join(page.code)
    assert re.findall(r"""(?:@import\s|url\()\s*["']?(?:https?:)?//[^)]*""", styles) == []


def test_no_style_sheet_of_the_book_loads_fonts_or_images_from_elsewhere():
    sheets = {
        (page.parent / url.split("?")[0]).resolve()
        for page in PAGES
        for url in read(page).loads
        if ".css" in url
    }
    assert any(sheet.name == "custom.css" for sheet in sheets)
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"""(?:@import\s|url\()\s*["']?(?:https?:)?//[^)]*""", text) == [], sheet


@each_page
def test_everything_that_a_page_loads_is_there(path):
    local = [url.split("?")[0].split("#")[0] for url in read(path).loads if ":" not in url]
    assert [url for url in local if url and not (path.parent / url).exists()] == []


@each_page
def test_mathjax_is_local(path):
    scripts = [url for url in read(path).loads if "mathjax" in url.lower()]
    assert all(not is_external(url) for url in scripts)
    if 'class="math' in path.read_text(encoding="utf-8"):
        assert len(scripts) == 1
    fonts = HTML / "_static" / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2"
    assert list(fonts.glob("*.woff"))


@each_page
def test_every_picture_has_an_alternative_text_and_every_figure_a_caption(path):
    page = read(path)
    assert [n for n, alt in enumerate(page.alts) if not (alt or "").strip()] == []
    assert [n for n, caption in enumerate(page.figures) if not caption] == []
    if path.parent.name == "notebooks":
        captioned = len(page.figures)
        assert captioned >= 3
        assert len(page.alts) >= captioned  # a slider is one figure of two pictures


@each_page
def test_nothing_is_left_unrendered(path):
    text = "".join(read(path).text)
    roles = r"\{(?:cite|eq|numref|ref|doc|prf|glue|term)[:}][^`]*`"
    assert re.findall(rf"{roles}|:::+|\$\$|\[\]\([^)]*\)|<IPython|\?\?", text) == []
