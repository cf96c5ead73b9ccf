"""The letters of formulas: what a chapter writes, without decorations, names and units."""

import re
from functools import cache

from prose import Page, formulas, pages

WORDS = re.compile(
    r"\\(?:text\w*|mathrm|operatorname\*?|label|begin|end|tag|color)\s*\{[^{}]*\}"
    r"|\\math(?:bb|cal)\s*\{?\s*[ENRC]\}?(?![A-Za-z])|\\mathrm\s*[A-Za-z]+"
)
DECORATED = re.compile(r"\\(?:hat|bar|tilde|dot|widehat|overline|underline|vec|check)(?![A-Za-z])")
GREEK = (
    "alpha beta gamma Gamma delta epsilon varepsilon zeta eta theta Theta kappa lambda Lambda mu "
    "nu xi Xi pi Pi rho sigma Sigma tau phi varphi Phi chi psi Psi omega Omega ell"
)
OPERATORS = (r"\hat L", r"\Delta")  # symbols of their own
LETTER = re.compile(
    rf"\\(?:{'|'.join(GREEK.split())})(?![A-Za-z])|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])"
)


def letters(tex: str) -> set[str]:
    """Letters of a formula, Latin and Greek; hats, bars and words are taken away.

    An expression such as `dx` is a differential: its d is no letter, its x is one.
    """
    bare = WORDS.sub(" ", tex)
    operators = {name for name in OPERATORS if name in bare}
    for name in operators:
        bare = bare.replace(name, " ")
    bare = DECORATED.sub(" ", bare)
    bare = re.sub(r"\\[A-Za-z]+", lambda name: name[0] if LETTER.fullmatch(name[0]) else " ", bare)
    bare = re.sub(r"(?<![A-Za-z\\])[A-Za-z]{2,}", lambda run: " ".join(run[0]), bare)
    return operators | set(LETTER.findall(bare))


@cache
def letters_of(name: str) -> dict[str, str]:
    """Letter -> a formula that has it, for the page of that name."""
    found: dict[str, str] = {}
    for tex in tex_of(name):
        for letter in letters(tex):
            found.setdefault(letter, " ".join(tex.split()))
    return found


@cache
def tex_of(name: str) -> tuple[str, ...]:
    """The formulas of a page."""
    (page,) = (page for page in pages() if page.name == name)
    return tuple(formula.tex for text in page.texts for formula in formulas(text))


def chapter_pages() -> list[Page]:
    """The pages that are chapters."""
    return [page for page in pages() if re.match(r"\d\d_", page.name)]
