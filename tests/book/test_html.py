"""The built pages: nothing comes from elsewhere, every picture is described, all is rendered.

Build them with `python3 make.py book`; without `_build/html` these tests are skipped.
"""

import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

HTML = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted([*HTML.glob("book/*.html"), *HTML.glob("notebooks/*.html")])
LINKS = ("a", "area", "base")  # a click follows them, the page does not fetch them
VOID = {"img", "br", "input", "link", "meta", "hr", "source", "wbr", "col", "embed", "area", "base"}
ADDRESSES = ("src", "srcset", "href", "xlink:href", "data", "poster", "background", "action")
QUIET_LINKS = {"next", "prev", "index", "search", "author", "license", "canonical", "bookmark"}
FETCHES = re.compile(
    r"\b(?:fetch|importScripts|import|sendBeacon)\s*\(|\bimport\s+[^('\"]*['\"]"
    r"|\b(?:XMLHttpRequest|WebSocket|EventSource|ActiveXObject)\b|\bnew\s+(?:Image|Worker)\b"
    r"|\.\s*(?:src|srcset|href)\s*=(?!=)|createElement\(\s*['\"](?:script|link|img|iframe)"
)
ELSEWHERE = re.compile(r"(?:https?:|wss?:|(?<![:\w]))//[\w-]+\.[\w.-]+")
STYLE_LOADS = re.compile(r"""(?:@import\s|url\()\s*["']?(?:https?:)?//[^)]*""")

needs_book = pytest.mark.skipif(
    not PAGES, reason="no built book in _build/html: run `python3 make.py book` first"
)


class Page(HTMLParser):
    """What one page loads, its pictures and figures, and the text of its article."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts: list[str] = []  # written in the page, handlers of events included
        self.alts: list[str | None] = []
        self.figures: list[str] = []  # the caption of each figure
        self.styles: list[str] = []  # written in the page
        self.text: list[str] = []
        self._in_article = self._in_caption = False
        self._open: list[str] = []
        self._formula = 0  # depth of elements inside a formula
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        rel = set(found.get("rel", "").split())
        if tag not in LINKS and not (tag == "link" and rel <= QUIET_LINKS):
            addresses = [found[name] for name in ADDRESSES if found.get(name)]
            self.loads += [a for address in addresses for a in split_sources(address)]
        self.scripts += [code for name, code in found.items() if name.startswith("on")]
        self.styles.append(found.get("style", ""))
        if self._formula or "math" in found.get("class", "").split():
            self._formula += tag not in VOID
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
        self._formula -= self._formula > 0
        if tag == "article":
            self._in_article = False
        if tag == "figcaption":
            self._in_caption = False
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif self._open and self._open[-1] == "style":
            self.styles.append(data)
        elif self._in_caption and self.figures:
            self.figures[-1] += data.strip()
        if self._in_article and not self._open and not self._formula:
            self.text.append(data)


@cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def each_page(test: Callable) -> Callable:
    """Ask it of every page of the book, if it was built."""
    return needs_book(pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)(test))


def split_sources(address: str) -> list[str]:
    """The addresses of a `src` or a `srcset`, without their sizes."""
    whole = [address] if address.startswith("data:") else address.split(",")
    return [part.split()[0] for part in whole if part.strip()]


def is_external(url: str) -> bool:
    return url.startswith("//") or re.match(r"(?!data:)[a-z]+:", url) is not None


def requests(page: Page) -> list[str]:
    """What a browser asks of other machines: addresses, and scripts that fetch anything.

    The theme writes an address for Thebe on every page; only `initThebe`, behind a button that
    this book does not have, would load it.
    """
    is_live = any("initThebe" in code for code in page.scripts)
    scripts = [code for code in page.scripts if is_live or not code.startswith("const THEBE_JS")]
    return [
        *(url for url in page.loads if is_external(url)),
        *(found for style in page.styles for found in STYLE_LOADS.findall(style)),
        *(code for code in scripts if FETCHES.search(code) or ELSEWHERE.search(code)),
    ]


@each_page
def test_no_request_leaves_the_page(path):
    assert requests(read(path)) == []


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        "<script>fetch('/numbers.json')</script>",
        "<script>new Image().src = address</script>",
        "<script>import('./module.js')</script>",
        '<script>const THEBE_JS_URL = "https://a.org/b.js"</script><b onclick="initThebe()">',
        '<script>const host = "//cdn.example.org";</script>',
        '<img src="a.png" alt="a" onload="new XMLHttpRequest()">',
        '<video poster="https://example.org/a.png"></video>',
        '<svg><image href="https://example.org/a.png"/></svg>',
        '<svg><image xlink:href="//example.org/a.png"/></svg>',
        '<link rel="prefetch" href="https://example.org/">',
        '<link rel="dns-prefetch preconnect" href="//example.org">',
        '<img src="a.png" srcset="b.png 1x, https://example.org/c.png 2x" alt="a">',
        '<object data="https://example.org/a.svg"></object>',
        '<p style="background:url(https://example.org/a.png)">',
        '<style>@import "https://example.org/a.css";</style>',
    ],
)
def test_a_request_is_seen(planted):
    assert requests(Page(f"<html><body><p>before</p>{planted}</body></html>"))


@pytest.mark.parametrize(
    "harmless",
    [
        '<a href="https://example.org">a link</a>',
        '<img src="data:image/png;base64,aaaa//bb.cc" alt="a">',
        '<link rel="next" href="https://example.org/2.html">',
        "<script>// a comment\nlet important = window.data / 2</script>",
        "<input oninput=\"this.parentNode.style.setProperty('--p',this.value+'%')\">",
    ],
)
def test_what_asks_nobody_passes(harmless):
    assert requests(Page(f"<html><body>{harmless}</body></html>")) == []


@needs_book
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
        assert STYLE_LOADS.findall(text) == [], sheet


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


LEFT = re.compile(
    r"\{(?:cite|eq|numref|ref|doc|prf|glue|term)[:}][^`]*`|:::+|\[\]\([^)]*\)|<IPython|\?\?"
    r"|\$|\\[()\[\]]|\\[A-Za-z]+|[A-Za-z0-9}][_^]\{"  # TeX: commands, indices in braces
)


@each_page
def test_nothing_is_left_unrendered(path):
    """Roles, directives and TeX are gone from the text, outside code and formulas."""
    assert LEFT.findall("".join(read(path).text)) == []


@each_page
def test_no_tex_in_the_description_of_a_picture(path):
    """A reader of the screen would spell it out."""
    assert [alt for alt in read(path).alts if LEFT.search(alt or "")] == []


@pytest.mark.parametrize(
    ("planted", "left"),
    [
        ("<p>Let $y = x</p><ul><li><p>w$ be seen.</p></li></ul>", ["$", "$"]),
        (r"<p>half of \frac{1}{2}</p>", [r"\frac"]),
        (r"<p>\begin{aligned} x \end{aligned}</p>", [r"\begin", r"\end"]),
        ("<p>the sum x_{i} and e^{x}</p>", ["x_{", "e^{"]),
        (r"<p>\(x\)</p>", [r"\(", r"\)"]),
        ("<figure><figcaption><p>a mean of $n$</p></figcaption></figure>", ["$", "$"]),
        ('<div class="math notranslate">$$ \\frac12 $$</div><p>after</p>', []),
        ('<p>in <span class="math">\\(\\hat x_{i}\\)</span>, <code>$HOME \\n</code></p>', []),
    ],
)
def test_raw_tex_is_seen(planted, left):
    page = Page(f"<html><body><article>{planted}</article></body></html>")
    assert LEFT.findall("".join(page.text)) == left
