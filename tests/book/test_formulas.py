"""Formulas reach MathJax whole: Markdown breaks none, and every command and brace is known."""

import re

import pytest
from prose import Page, formulas, known_commands, known_environments, pages, tokens

WORDS = re.compile(r"\\(?:text\w*|math\w+|operatorname\*?|label|tag|begin|end)\s*\{[^{}]*\}|\\\w+")
LONGEST_NAME = 3  # letters of a variable: four in a row are a word of prose between two dollars


def problems(text: str) -> list[str]:
    """What keeps the formulas of a text from being shown as they were meant."""
    found = [
        f"a dollar is left, Markdown broke a formula: {token.content!r}"
        for token in tokens(text)
        if token.type in ("text", "text_special") and "$" in token.content
    ]
    for tex, _ in formulas(text):
        bare = re.sub(r"\\[\\{}]", "", tex)
        depths = [bare[:k].count("{") - bare[:k].count("}") for k in range(len(bare) + 1)]
        if min(depths) < 0 or depths[-1]:
            found.append(f"braces do not match: {tex}")
        for left, right in ((r"\left", r"\right"), (r"\begin", r"\end")):
            if len(re.findall(rf"\{left}(?![A-Za-z])", tex)) != len(
                re.findall(rf"\{right}(?![A-Za-z])", tex)
            ):
                found.append(f"{left} and {right} do not match: {tex}")
        used = set(re.findall(r"\\([A-Za-z]+)", tex))
        found += [f"unknown command \\{name}: {tex}" for name in used - known_commands()]
        opened = set(re.findall(r"\\begin\{([^}]*)\}", tex))
        found += [f"unknown environment {name}: {tex}" for name in opened - known_environments()]
        if words := re.findall(rf"[A-Za-z]{{{LONGEST_NAME + 1},}}", WORDS.sub("", tex)):
            found.append(f"prose in a formula ({words[0]}), a dollar is missing or too much: {tex}")
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_formula_is_whole(page: Page):
    assert [problem for text in page.texts for problem in problems(text)] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Let $y = x\n+ w$ be seen.", "a dollar is left"),
        ("Let $y = x\n- w$ be seen.", "a dollar is left"),
        ("It is $a\n1. b$ here.", "a dollar is left"),
        ("Half of $x is seen.", "a dollar is left"),
        (":::{exercise} Name\n:label: ex-a\n\nLet $y = x\n+ w$.\n:::", "a dollar is left"),
        ("Of $x$ the image $ and $y$ the rest.", "prose in a formula|a dollar is left"),
        (r"$$ x = \argmni_u f(u) $$", r"unknown command \\argmni"),
        (r"$\begin{aligend} x \end{aligend}$", "unknown environment aligend"),
        (r"$\frac{1}{2$", "braces do not match"),
        (r"$x_}a{$", "braces do not match"),
        (r"$\left( x$", r"\\left and \\right do not match"),
        ("```{math}\n:label: eq-a\n\\hta x\n```", r"unknown command \\hta"),
    ],
)
def test_a_broken_formula_is_seen(text, problem):
    assert re.search(problem, "\n".join(problems(text)))


@pytest.mark.parametrize(
    "text",
    [
        r"$\lVert A u - y\rVert^2_2 \le \sigma^2 n$, `$HOME`",
        r"$$ \begin{cases} 1 & \text{where it holds} \\ 0 \end{cases} $$ (eq-a)",
        r"$\{x : f(x) \le 1\}$",
    ],
)
def test_a_whole_formula_passes(text):
    assert problems(text) == []
