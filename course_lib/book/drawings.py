"""The drawings of models, `book/_static/<name>.svg`, which are not outputs of a chapter.

Draw them again with `python -m course_lib.book.drawings`; nothing else changes them.
"""

from pathlib import Path

import matplotlib

from course_lib.plotting.drawings import draw_hierarchy, draw_variational_family
from course_lib.project import course_root

DRAWINGS = {"variational_family": draw_variational_family, "hierarchy": draw_hierarchy}


def drawing_path(name: str) -> Path:
    """Where a drawing is stored."""
    return course_root() / "book" / "_static" / f"{name}.svg"


def write_drawings() -> list[Path]:
    """Draw all again; the same bytes each time, letters as outlines."""
    for name, draw in DRAWINGS.items():
        with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
            draw().savefig(drawing_path(name), format="svg", metadata={"Date": None})
    return [drawing_path(name) for name in DRAWINGS]


if __name__ == "__main__":
    for path in write_drawings():
        print(f"Written to {path}")
