"""The edition without solutions: no answer survives, and only NotImplementedError is raised."""

import re

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.book.chapters import chapters
from course_lib.book.execute import read_source
from course_lib.book.student import (
    REGION,
    YOUR_TURN,
    with_numbers,
    without_solutions,
    write_student_edition,
)
from course_lib.project import CourseError

EXERCISE = """\
# %% [markdown]
# # 8. Exercise
#
# :::{exercise} Double
# :label: ex-double
# Write `double`.
# :::
#
# :::{solution-start} ex-double
# :class: dropdown
# :::

# %% tags=["solution", "hide-input"]
def double(x):
    ### BEGIN SOLUTION
    answer = 2 * x  # SECRET
    return answer
    ### END SOLUTION


# %% [markdown]
# :::{solution-end}
# :::

# %%
double(3)

# %% tags=["remove-cell"]
assert double(3) == 6  # SECRET
"""


def test_a_chapter_without_solutions_runs(write_chapter, tmp_path):
    out = tmp_path / "student"
    write_student_edition(write_chapter(EXERCISE, "08_exercise"), out)
    script = (out / "08_exercise.py").read_text()
    notebook = nbformat.read(out / "08_exercise.ipynb", as_version=4)
    assert "SECRET" not in script + str(notebook)
    assert "Write `double`." in script
    assert [cell.source for cell in notebook.cells[1:]] == [
        f"def double(x):\n    {YOUR_TURN}",
        "double(3)",
    ]
    assert (out / "jupytext.toml").exists()
    assert "jupytext_version" not in script


def test_another_error_is_refused(write_chapter, tmp_path):
    needs_answer = '# %% tags=["solution"]\nanswer = 42\n\n# %%\nprint(answer)\n'
    with pytest.raises(CourseError, match=r"(?s)NameError.*tag it `solution`"):
        write_student_edition(write_chapter(needs_answer), tmp_path / "student")
    assert not (tmp_path / "student" / "07_tiny_case.py").exists()


def test_the_chapters_are_never_overwritten(write_chapter):
    chapter = write_chapter(EXERCISE)
    with pytest.raises(CourseError, match="another folder"):
        write_student_edition(chapter, chapter.source.parent)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (new_code_cell("### BEGIN SOLUTION\nx = 1"), "pairs"),
        (new_code_cell("x = 1\n### END SOLUTION"), "pairs"),
        (new_markdown_cell("```{solution} ex\ntext"), "not closed"),
        (new_markdown_cell(":::{solution-start} ex\n:::"), "no solution-end"),
    ],
)
def test_markers_come_in_pairs(cell, message):
    with pytest.raises(CourseError, match=message):
        without_solutions(new_notebook(cells=[cell]))


SECRET = "SECRET"
indents = st.sampled_from(["", "    ", "\t"])
fences = st.sampled_from(["```", "````", ":::", "::::"])
lines = st.lists(st.sampled_from(["", "x = 1", SECRET, f"# {SECRET}", "$a$", "**b**"]), max_size=4)


@st.composite
def solution_cells(draw):
    """A list of cells in which SECRET occurs only inside solutions, and KEPT only outside."""
    body, fence, indent = "\n".join([SECRET, *draw(lines)]), draw(fences), draw(indents)
    inner = "\n".join(indent + line for line in body.splitlines())
    kind = draw(st.sampled_from(["region", "two regions", "whole", "block", "gated", "hidden"]))
    region = f"{indent}### BEGIN SOLUTION\n{inner}\n{indent}### END SOLUTION"
    if kind == "region":
        return [new_code_cell(f"KEPT\n{region}\nKEPT")]
    if kind == "two regions":
        return [new_code_cell(f"{region}\nKEPT\n{region}\nKEPT")]
    if kind == "whole":
        return [new_code_cell(body, metadata={"tags": ["solution"]}), new_code_cell("KEPT\nKEPT")]
    if kind == "block":
        return [new_markdown_cell(f"KEPT\n\n{fence}{{solution}} ex\n{body}\n{fence}\n\nKEPT")]
    if kind == "gated":
        start = f"KEPT\n\n{fence}{{solution-start}} ex\n:class: dropdown\n{fence}\n\n{body}"
        end = f"{body}\n\n{fence}{{solution-end}}\n{fence}\n\nKEPT"
        return [new_markdown_cell(start), new_code_cell(body), new_markdown_cell(end)]
    hidden = new_code_cell(f"{body}\nassert x", metadata={"tags": ["remove-cell"]})
    return [hidden, new_markdown_cell("KEPT KEPT")]


@given(st.lists(solution_cells(), min_size=1, max_size=5))
def test_no_solution_survives_and_nothing_else_is_lost(groups):
    notebook = new_notebook(cells=[cell for group in groups for cell in group])
    text = "\n".join(cell.source for cell in without_solutions(notebook).cells)
    assert SECRET not in text
    assert "solution" not in text.lower()
    assert text.count("KEPT") == 2 * len(groups)


def test_numbers_are_written_out():
    """Jupyter does not know the role `glue`: the student reads the number."""
    prose = "It has {glue:text}`psnr_naive:.1f` dB and {glue:text}`unseen_mri:.0f` %."
    written = with_numbers(prose, "01_inverse_problems")
    assert re.fullmatch(r"It has \d\d\.\d dB and \d\d %\.", written)


GIVEN = {  # lines of answers that the chapter itself prints before the exercise
    "02_gradient_descent": ["u.roll(-1, -1) - u"],
    "03_tychonov_wiener": ["op.A(tychonov(op, y, lam).x) - y"],
}
SHORT = 14  # characters without spaces: `return lam` or `k_hat = op.transfer` betray nothing


def squeezed(code: str) -> str:
    return re.sub(r"\s+", "", code)


def repeated_answers(notebook) -> list[str]:
    """Right-hand sides of answers that the edition without solutions still holds somewhere."""
    left = squeezed("\n".join(cell.source for cell in without_solutions(notebook).cells))
    answers = []
    for cell in notebook.cells:
        regions = [region[0] for region in REGION.finditer(cell.source)]
        if "solution" in cell.metadata.get("tags", []):
            regions = regions or [cell.source]
        answers += [line.split("#")[0].strip() for region in regions for line in region.split("\n")]
    values = [re.sub(r"^(?:return\b|[\w, ]+ =(?!=))\s*", "", answer) for answer in answers]
    return [v for v in values if len(squeezed(v)) >= SHORT and squeezed(v) in left]


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_no_answer_is_repeated_outside_its_markers(chapter):
    assert repeated_answers(read_source(chapter.source)) == GIVEN.get(chapter.name, [])


@pytest.mark.parametrize(
    "leak",
    [
        new_code_cell("shown = k.conj() * rfft2(y)  # for the figure"),
        new_markdown_cell("Use `k.conj() * rfft2( y )`."),
        new_code_cell("print(k.conj() *\n    rfft2(y))"),
    ],
)
def test_a_repeated_answer_is_seen(leak):
    answer = (
        "def f(k, y):\n    ### BEGIN SOLUTION\n    u = k.conj() * rfft2(y)\n    ### END SOLUTION"
    )
    cells = [new_code_cell(answer, metadata={"tags": ["solution"]}), leak]
    assert repeated_answers(new_notebook(cells=cells)) == ["k.conj() * rfft2(y)"]
