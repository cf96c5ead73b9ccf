"""The published table is shown digit by digit, slips included."""

from course_lib.experiments.published import PROBLEMS, VBLE, published_vble
from course_lib.inference.vble import VARIANTS


def test_the_table_of_vble_is_shown_as_printed():
    table = published_vble()
    assert table.rows == list(VBLE) == list(VARIANTS)
    assert {len(row) for row in table.cells} == {3 * len(PROBLEMS)} == {len(table.columns)}
    assert table.cells[0] == ["33.25", "0.090", "–", "33.28", "0.0755", "–", "33.90", "0.057", "–"]
    assert table.cells[2][1] == "0.9478 (sic)"
    assert table.cells[2][5] == "0.075 (sic)"
    assert [row[3] for row in table.cells] == ["33.28", "33.36", "33.24", "33.18", "33.30"]
