"""Files of numbers: what comes back, and what is refused."""

import json
from dataclasses import asdict

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import (
    load_results,
    results_path,
    store_results,
)
from course_lib.results.storage import parse_results


def document(**changes) -> str:
    entry = asdict(NUMBER) | changes
    return json.dumps({"schema": 1, "chapter": "03_x", "results": [entry]})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course, named by COURSE_ROOT."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    return tmp_path


def test_a_stored_number_comes_back(course):
    store_results("03_x", [NUMBER])
    assert dict(load_results("03_x")) == {"wiener_low": NUMBER}
    assert load_results("03_x").value("wiener_low") == 28.5
    assert [p.name for p in results_path("03_x").parent.iterdir()] == ["03_x.json"]


def test_a_missing_file_names_the_command(course):
    with pytest.raises(CourseError, match="course results 04_y --store"):
        load_results("04_y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", '"schema": 1'),
        ('{"schema": 2}', '"schema": 1'),
        ('{"schema": 1}', "missing"),
        (document(value=float("nan")), "finite"),
        (document(value="28"), "value has the wrong type"),
        (document(n=1.5), "n has the wrong type"),
        (document(tolerance=-1), "tolerance"),
        (document(name=""), "needs a name"),
        (document(command=""), "without a command"),
        (document(extra=1), "unknown"),
        ('{"schema": 1, "chapter": "x", "results": [{"name": "a"}]}', "missing .*'value'"),
    ],
)
def test_a_bad_file_is_refused(text, message):
    with pytest.raises(CourseError, match=message):
        parse_results(text, where="03_x.json")
