"""A measured number comes by `glue`; a chosen one is typed in mathematics, `$0.02$`.

Numbers typed in plain prose are neither, and are refused: decimal fractions, and whole numbers in
a unit of measurement. `typed_numbers.json` lists those of before this rule, by page. The list only
shrinks: put dollars around a chosen number, and take it out of the list.
"""

import json
import re
from pathlib import Path

import pytest
from prose import Page, pages, tokens

STILL_TYPED = json.loads(Path(__file__).with_name("typed_numbers.json").read_text(encoding="utf-8"))
QUOTES = ("errata",)  # its numbers are those of the printed text that it corrects
UNIT = r"%|(?:dB|nats?|bits?|seconds?|s|ms|minutes?|MB|GB|times|steps|iterations|evaluations)\b"
NUMBER = re.compile(rf"(?<![\w.¤:])(?:\d+\.\d+(?![\w.])(?: ?(?:{UNIT}))?|\d+ ?(?:{UNIT}))")
LEVEL = re.compile(r"\b95 ?% (?=(?:confidence )?intervals?\b)")  # a convention, not a measurement
MARKED = ("math_inline", "code_inline", "myst_role")  # each is one ¤ below


def typed_numbers(text: str) -> list[str]:
    """The numbers in plain prose that look measured."""
    found = []
    for block in tokens(text):
        if block.type == "inline":
            parts = ("¤" if t.type in MARKED else t.content or " " for t in block.children or [])
            prose = LEVEL.sub("", "".join(parts))
            found += [" ".join(number.split()) for number in NUMBER.findall(prose)]
    return found


@pytest.mark.parametrize(
    "page", [p for p in pages() if p.name not in QUOTES], ids=lambda page: page.name
)
def test_no_measured_number_is_typed(page: Page):
    found = sorted(number for text in page.texts for number in typed_numbers(text))
    assert found == STILL_TYPED.get(page.name, []), "use glue, or dollars around a chosen number"


def test_the_list_of_typed_numbers_only_shrinks():
    assert STILL_TYPED.keys() <= {page.name for page in pages()}
    assert sum(map(len, STILL_TYPED.values())) <= 71


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It gains 3 dB and 0.02 SSIM.", ["3 dB", "0.02"]),
        ("Half of the time (12 s) and **0.91**, 5 %", ["12 s", "0.91", "5 %"]),
        (":::{exercise} A\nIt takes 130 steps.\n:::", ["130 steps"]),
        ("With $\\sigma = 0.02$, {glue:text}`gain:.1f` dB, `x = 0.5`, 64 x 64 pixels", []),
        ("0.9 dB with 95 % intervals, a 95% interval, 95 % of it", ["0.9 dB", "95 %"]),
        ("Section 2.1.5, Python 3, chapter 12.", []),
    ],
)
def test_what_counts_as_typed(text, numbers):
    assert typed_numbers(text) == numbers
