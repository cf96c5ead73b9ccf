"""A small table of numbers that looks right in Jupyter, on the page and in a terminal."""

from dataclasses import dataclass
from html import escape

from course_lib.project import CourseError


@dataclass(frozen=True)
class Table:
    """Formatted cells with their labels; `bold` holds the (row, column) of the best values."""

    rows: list[str]
    columns: list[str]
    cells: list[list[str]]
    bold: frozenset[tuple[int, int]] = frozenset()

    def _lines(self, strong: str) -> list[list[str]]:
        return [["", *self.columns]] + [
            [label, *(strong.format(c) if (i, j) in self.bold else c for j, c in enumerate(cells))]
            for i, (label, cells) in enumerate(zip(self.rows, self.cells, strict=True))
        ]

    def _repr_markdown_(self) -> str:
        head, *body = (" | ".join(line) for line in self._lines("**{}**"))
        rule = " | ".join(["---", *["---:"] * len(self.columns)])
        return "\n".join(f"| {line} |" for line in (head, rule, *body))

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(label)}</th>' for label in self.columns)
        body = "\n".join(
            f'<tr><th scope="row">{escape(label)}</th>{self._html_cells(i)}</tr>'
            for i, label in enumerate(self.rows)
        )
        return (
            f'<table class="course-table">\n<thead><tr><td></td>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table>"
        )

    def _html_cells(self, row: int) -> str:
        strong = ("<td>{}</td>", "<td><strong>{}</strong></td>")
        return "".join(
            strong[(row, j) in self.bold].format(escape(cell))
            for j, cell in enumerate(self.cells[row])
        )

    def __repr__(self) -> str:
        lines = self._lines("{}*")
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in lines
        )


def make_table(
    values: list[list[float | None]],
    halves: list[list[float | None]],
    rows: list[str],
    columns: list[str],
    formats: list[str],
    best: str | None,
    missing: str | None,
) -> Table:
    """Format the values (None prints as `missing`) and mark the best of each column.

    Args:
        values: numbers, row by row.
        halves: half the width of the interval of each, None for a number that has none.
        rows, columns: labels.
        formats: of the numbers of each column.
        best: "max" or "min" marks the best of each column.
        missing: what stands where there is no number.
    """
    if best not in (None, "max", "min"):
        raise CourseError(f"A table marks best='max', 'min' or None, got best={best!r}.")
    cells = [
        [
            (missing or "") if v is None else _with_half(v, h, fmt)
            for v, h, fmt in zip(line, widths, formats, strict=True)
        ]
        for line, widths in zip(values, halves, strict=True)
    ]
    marked = set()
    for j, column in enumerate(zip(*values, strict=True) if best else ()):
        known = [value for value in column if value is not None]
        if known:
            winner = format(max(known) if best == "max" else min(known), formats[j])
            marked |= {
                (i, j)
                for i, v in enumerate(column)
                if v is not None and format(v, formats[j]) == winner
            }
    return Table(rows, columns, cells, frozenset(marked))


def _with_half(value: float, half: float | None, fmt: str) -> str:
    """A number and half of its interval, to the same number of digits."""
    shown = format(value, fmt)
    return shown if half is None else f"{shown} ± {format(half, fmt.lstrip('+'))}"
