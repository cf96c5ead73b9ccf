"""Every picture in a notebook has a caption, and words for a reader who cannot see it."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
FORM = 'mystnb={"figure": {"caption": "...", "name": "fig-x"}, "image": {"alt": "..."}}'


def picture_cells(notebook: Path) -> list[tuple[int, dict, dict]]:
    """(number, metadata, outputs by type) of the code cells that show a picture on the page."""
    found = []
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        data = {}
        for output in cell.get("outputs", []):
            data |= output.get("data", {})
        hidden = {"remove-cell", "remove-output"} & set(cell["metadata"].get("tags", []))
        if not hidden and any(kind.startswith("image/") for kind in data):
            found.append((number, cell["metadata"].get("mystnb", {}), data))
    return found


class Slider(HTMLParser):
    """The alternative texts and the caption of pictures under a slider."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.alts: list[str] = []
        self.feed(html)
        caption = re.search(r"<figcaption>(.*?)</figcaption>", html, re.DOTALL)
        self.caption = caption[1].strip() if caption else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append((dict(attrs).get("alt") or "").strip())


def is_described(mystnb: dict, data: dict) -> bool:
    """A slider carries its own words; any other picture has them in the cell's metadata."""
    html = "".join(data.get("text/html", ""))
    if "before-after" in html or 'class="film"' in html:
        slider = Slider(html)
        return bool(slider.caption) and len(slider.alts) >= 2 and all(slider.alts)
    words = [
        mystnb.get("figure", {}).get("caption"),
        mystnb.get("figure", {}).get("name"),
        mystnb.get("image", {}).get("alt"),
    ]
    return all(word and word.strip() for word in words)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_has_a_caption_and_an_alternative_text(notebook):
    cells = picture_cells(notebook)
    bare = [number for number, mystnb, data in cells if not is_described(mystnb, data)]
    assert not bare, f"{notebook.name}: cells {bare} of {len(cells)} with pictures lack {FORM}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_has_pictures_and_a_comparison(notebook):
    pages = ["".join(data.get("text/html", "")) for _, _, data in picture_cells(notebook)]
    assert len(pages) >= 3, f"{notebook.name} shows {len(pages)} pictures"
    assert any("before-after" in page for page in pages), f"{notebook.name} has no slider"


def test_names_of_figures_are_unique_in_the_book():
    cells = [(path, cell) for path in NOTEBOOKS for cell in picture_cells(path)]
    names = [mystnb["figure"]["name"] for _, (_, mystnb, _) in cells if "figure" in mystnb]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_last_line_of_a_cell_draws(notebook):
    """A figure that is no value of its cell is lost, silently: there is no plt.show() here."""
    draws = {f"plot_{kind}" for kind in ("history", "curves", "bars", "paths")}
    draws |= {"show_images", "show_spectrum", "compare", "film"}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code" or "%" in "".join(cell["source"])[:1]:
            continue
        for statement in ast.parse("".join(cell["source"])).body[:-1]:
            call = statement.value if isinstance(statement, ast.Expr) else None
            name = getattr(getattr(call, "func", None), "id", "")
            assert name not in draws, f"{notebook.name}, cell {number}: {name}(...) is not shown"
