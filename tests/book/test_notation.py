"""The page "Notation" against the formulas of the chapters: what it says is there, and no more."""

import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from symbols import chapter_pages, letters, letters_of, tex_of

PAGE = (Path(__file__).parents[2] / "book" / "notation.md").read_text(encoding="utf-8")
UNDER_REVISION: set[int] = set()
PAGES = {int(page.name[:2]): page.name for page in chapter_pages()}
NAMES = {number: name for number, name in PAGES.items() if number not in UNDER_REVISION}
STANDARD = {"i", "j", "I", "d", "e", r"\pi", r"\delta"}  # indices, identity, differentials, numbers
MATH = re.compile(r"\$([^$]+)\$")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@cache
def shared() -> dict[str, set[int]]:
    """Letter -> the chapters that share it."""
    found: dict[str, set[int]] = {}
    for symbol, _code, _meaning, where in rows("Symbols"):
        chapters = {int(number) for number in where.split(",")} & NAMES.keys()
        for tex in MATH.findall(symbol):
            for letter in letters(tex.split("^")[0]):
                found[letter] = found.get(letter, set()) | chapters
    return found


def defined(cell: str) -> list[str]:
    """The symbols that a cell of the second table defines: those that begin each part."""
    parts = cell.split(";") if cell else []
    leading = [re.match(r"\s*((?:\$[^$]+\$,?\s*)+)", part) for part in parts]
    return [tex for found in leading if found for tex in MATH.findall(found[1])]


@cache
def local() -> dict[int, str]:
    """Chapter -> the cell of its letters."""
    return {int(number): cell for number, cell in rows("Letters of one chapter")}


def indexed(chapter: int) -> set[str]:
    """Letters that a chapter uses with an index, as a symbol of its own, such as U_k."""
    symbols = [tex for tex in defined(local()[chapter]) if "_" in tex]
    return set(chain.from_iterable(letters(tex.split("_")[0]) for tex in symbols))


@pytest.mark.parametrize("chapter", NAMES)
def test_every_letter_of_a_chapter_is_explained(chapter):
    known = {letter for letter, where in shared().items() if chapter in where} | STANDARD
    known |= set(chain.from_iterable(letters(tex) for tex in MATH.findall(local()[chapter])))
    found = letters_of(NAMES[chapter])
    unknown = {letter: tex for letter, tex in found.items() if letter not in known}
    assert unknown == {}, "use the letter of the page, or add a meaning to its second table"


@pytest.mark.parametrize("letter", shared())
def test_a_shared_letter_occurs_in_its_chapters_and_in_no_other(letter):
    def count(chapter: int) -> bool:
        return letter in letters_of(NAMES[chapter]) and letter not in indexed(chapter)

    assert {c for c in NAMES if count(c)} == shared()[letter] - {
        c for c in NAMES if letter in indexed(c)
    }


@pytest.mark.parametrize("chapter", NAMES)
def test_no_chapter_gives_two_meanings_to_a_letter(chapter):
    symbols = defined(local()[chapter])
    assert len(symbols) == len(set(symbols))
    bare = {tex for tex in symbols if {tex} == letters(tex)}
    assert [tex for tex in bare if tex in shared() and tex not in ("u", "v")] == []


@pytest.mark.parametrize("chapter", NAMES)
def test_every_letter_that_the_page_explains_occurs(chapter):
    for tex in defined(local()[chapter]):
        assert letters(tex) <= letters_of(NAMES[chapter]).keys(), f"{tex} is not in the chapter"


ONE_THING = {  # what a symbol stands for, and how a formula shows that it does
    "kernel": (r"\\hat h|h(?:_\{?\\?\w+'?\}?)? ?(?:\\ast|\*) ?x|\\widehat\{h", {1, 3, 13, 14}),
    "decoder": (r"G(?:_\\?\w+|_\{[^}]*\})?\(", {6, 7, 8, 11}),
    "denoiser": (r"D\(x, ", {13, 14}),
    "posterior": (r"q(?:_\\?\w+)?\((?:z|x|\\cdot)", {6, 11, 12}),
    "potential": (r"(?<![A-Za-z])U\(|U = -\\log p|\\sigma\^2 U", {13, 14}),
    "spectrum": (r"S\(\\xi\) = \\(?:E|mathbb E)\s*\\[l]?[vV]?[ea][rb][ts]?s?", {3}),
    "measurement": (r"- y ?(?:\\r|\\big|\\|\))", {2, 3, 4, 7, 8, 12, 14}),
    "symbol": (
        r"\\hat L\(\\xi\) = 4 ?\\sin\^2\(\\pi ?\\xi_1\) \+ 4 ?\\sin\^2\(\\pi ?\\xi_2\)",
        {2, 3},
    ),
}
NOTHING_ELSE = {  # other letters that once stood for the same things
    "kernel": (r"\\hat ?k|\bk ?(?:\\ast|\*)|\\widehat\{k", set(NAMES)),
    "decoder": (r"D(?:_\\theta|_\{\\text\{clean\}\})?\((?:z|E)", set(NAMES)),
    "denoiser": (r"\\min_D|D_i|D\(G", set(NAMES)),
    "potential": (r"(?<![A-Za-z])q ?(?:=|\(h|\(g|\(x\))|\\sigma\^2 ?q|\\nabla\^2 q", {13, 14}),
    "spectrum": (
        r"S ?[-+] ?1|1 ?[-+] ?1 ?/ ?S|\\tfrac1S|S ?F ?\(|\|S\||S = \\operatorname",
        set(NAMES),
    ),
    "measurement": (r"A ?u ?- ?v\b|A ?x ?- ?v\b", set(NAMES)),
    "symbol": (r"\\sin\^2\(\\pi ?\\xi_?\d? ?/ ?[HWMN]", set(NAMES)),
    "noise": (r"[*\\]\S* ?\\?(?:bar )?x ?\+ ?b(?![A-Za-z_])", {13, 14}),
    "factor": (
        r"\\sigma\^2 ?H ?W ?/ ?S\b.*\|S\||\\lvert\\hat h\\rvert\^2 ?\+ ?\\sigma\^2 ?/ ?S",
        set(NAMES),
    ),
}


@pytest.mark.parametrize("thing", ONE_THING)
def test_a_symbol_is_written_as_said(thing):
    pattern, named = ONE_THING[thing]
    chapters = named & NAMES.keys()
    assert {c for c in chapters if re.search(pattern, "\n".join(tex_of(NAMES[c])))} == chapters


@pytest.mark.parametrize("thing", NOTHING_ELSE)
def test_no_other_letter_stands_for_the_same(thing):
    pattern, chapters = NOTHING_ELSE[thing]
    written = [(c, tex) for c in chapters & NAMES.keys() for tex in tex_of(NAMES[c])]
    found = [(c, tex) for c, tex in written if re.search(pattern, tex)]
    assert found == []


def test_every_chapter_has_its_row():
    assert list(local()) == list(PAGES)


@pytest.mark.parametrize(
    ("thing", "tex"),
    [
        ("kernel", r"\lvert\hat k\rvert^2"),
        ("kernel", r"k \ast x"),
        ("decoder", r"x - D(z)"),
        ("denoiser", r"D(G(z)) - D(x)"),
        ("potential", r"\tfrac12\lVert h * x - y\rVert^2 + \sigma^2 q(x)"),
        ("spectrum", r"\sqrt{(S+1)/(S-1)}"),
        ("measurement", r"\lVert Au - v\rVert"),
        ("symbol", r"4\sin^2(\pi\xi_1/M)"),
        ("noise", r"y = h * x + b"),
        ("factor", r"\lvert\hat h\rvert^2 + \sigma^2 / S"),
    ],
)
def test_an_old_letter_is_seen(thing, tex):
    assert re.search(NOTHING_ELSE[thing][0], tex)


def test_what_a_letter_is():
    assert letters(r"\hat L(\xi) = 4\sin^2(\pi\xi_1)") == {r"\hat L", r"\xi", r"\pi"}
    assert letters(r"\mathbb E\lVert x\rVert + \operatorname{TV}(u)\,dx") == {"x", "u", "d"}
    assert letters(r"\mathcal N(0, \Id), \mathcal L, \norm{Ax}") == {"L", "A", "x"}
    assert letters(r"\text{any word}_\theta \mathrm{KL}(q \Vert p)") == {r"\theta", "q", "p"}
    assert defined(r"$s_i$, $u_i$ singular; $t$ steps of $x$") == ["s_i", "u_i", "t"]
