"""The prose of the book as MyST reads it: paragraphs, formulas, and the commands MathJax knows."""

import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jupytext
import yaml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
GENERATED = (
    "results",
    "models",
    "sources",
)  # written by `course pages`, no sentence is typed there
VERBATIM = re.compile(r"\{(?:code|code-cell|code-block|math|bibliography|image|tableofcontents)\b")
OPTIONS = re.compile(r"(?:^:[\w-]+:.*\n?)*")


class Page(NamedTuple):
    """A page of the book; `texts` are its markdown cells and captions, or its whole text."""

    name: str
    texts: list[str]


class Formula(NamedTuple):
    """A formula as typed, without its dollars."""

    tex: str
    is_display: bool


@cache
def pages() -> list[Page]:
    """Every page that people write: chapters and the prose of book/."""
    prose = [Page(path.stem, [path.read_text(encoding="utf-8")]) for path in _prose_files()]
    return [*(Page(path.stem, _texts(path)) for path in chapter_files()), *prose]


def chapter_files() -> list[Path]:
    """The scripts of the chapters."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def tokens(text: str) -> Iterator[Token]:
    """All tokens of a text, those inside directives and captions included."""
    for block in _parser().parse(text):
        yield block
        yield from block.children or []
        is_directive = block.type in ("fence", "colon_fence") and block.info.startswith("{")
        if is_directive and not VERBATIM.match(block.info):
            yield from tokens(block.info.split("}", 1)[1].strip())
            yield from tokens(OPTIONS.sub("", block.content, count=1))


def formulas(text: str) -> Iterator[Formula]:
    """The formulas of a text."""
    for token in tokens(text):
        if token.type.startswith(("math_", "amsmath")):
            yield Formula(token.content, token.type != "math_inline")
        elif token.type in ("fence", "colon_fence") and token.info.startswith("{math}"):
            yield Formula(OPTIONS.sub("", token.content, count=1), True)


@cache
def known_commands() -> frozenset[str]:
    """The commands that the book's MathJax defines, and the macros of _config.yml."""
    macros = CONFIG["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"]
    return frozenset(macros) | _mathjax_names("Command|Character|Delimiter|Macro")


@cache
def known_environments() -> frozenset[str]:
    """The environments that the book's MathJax defines."""
    return _mathjax_names("Environment")


def _mathjax_names(kinds: str) -> frozenset[str]:
    """The keys of the tables of a kind in the shipped bundle: `CommandMap("macros", {...})`."""
    files = metadata.files("sphinx-mathjax-offline") or []
    (bundle,) = (file for file in files if file.as_posix().endswith("mathjax/input/tex.js"))
    script, names = Path(bundle.locate()).read_text(encoding="utf-8"), set()
    script = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: re.sub("[{}]", "", quoted[0]), script)
    for table in re.finditer(rf'(?:{kinds})Map\("[\w-]+",', script):
        start = script.index("{", table.end())
        depth, end = 1, start + 1
        while depth:  # to the closing brace of the table
            depth += {"{": 1, "}": -1}.get(script[end], 0)
            end += 1
        names |= set(re.findall(r'[{,]"?(?:\\\\)?([A-Za-z]+\*?)"?:', script[start:end]))
    return frozenset(names)


@cache
def _parser():
    extensions = set(CONFIG["parse"]["myst_enable_extensions"])
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


def _prose_files() -> list[Path]:
    return [path for path in sorted((ROOT / "book").glob("*.md")) if path.stem not in GENERATED]


def _texts(script: Path) -> list[str]:
    texts = []
    for cell in jupytext.read(script).cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        texts += [cell.source] if cell.cell_type == "markdown" else []
        texts += [figure["caption"]] if "caption" in figure else []
    return texts
