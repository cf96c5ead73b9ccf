"""The blocks "the same in deepinv" run and agree with the library."""

import re
from pathlib import Path

import pytest
import torch

from course_lib import data, functionals, metrics, operators, solvers
from course_lib.operators.torchvision_shim import make_torchvision_importable

CHAPTERS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.py"))
HEADING = "# ## The same in deepinv"
BLOCK = re.compile(r"^# ```python\n(.*?)^# ```$", re.MULTILINE | re.DOTALL)


def blocks(chapter: Path) -> list[str]:
    return BLOCK.findall(chapter.read_text(encoding="utf-8"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_section_has_one_block(chapter):
    assert len(blocks(chapter)) == chapter.read_text(encoding="utf-8").count(HEADING)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if blocks(c)], ids=lambda path: path.stem)
def test_the_same_in_deepinv(chapter):
    make_torchvision_importable()
    (block,) = blocks(chapter)
    names = {"torch": torch}
    for module in (data, functionals, metrics, operators, solvers):
        names |= {name: getattr(module, name) for name in module.__all__}
    exec(re.sub(r"^# ?", "", block, flags=re.MULTILINE), names)
    # Single precision and a few hundred iterations: the largest gap seen is 5e-6.
    assert names["gap"] <= 2e-5
