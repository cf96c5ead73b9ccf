"""The files of stored numbers, `book/results/<chapter>.json`, and what is refused in them."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from course_lib.project import CourseError, course_root, write_atomically
from course_lib.results.result import Result, Results

SCHEMA = 1
NUMBER = (int, float)
KINDS = {  # of the fields that are no strings
    "value": NUMBER,
    "tolerance": (*NUMBER, type(None)),
    "n": int,
    "seed": (int, type(None)),
}


def stored_names() -> list[str]:
    """Every chapter, or other source of numbers, that has a results file."""
    folder = course_root() / "book" / "results"
    return sorted(path.stem for path in folder.glob("*.json") if path.stem != "budgets")


def results_path(chapter: str) -> Path:
    """The file of a chapter's numbers."""
    return course_root() / "book" / "results" / f"{chapter}.json"


def store_results(chapter: str, results: list[Result]) -> Path:
    """Write a chapter's numbers; duplicates are refused, a killed run leaves the old file."""
    document = {
        "schema": SCHEMA,
        "chapter": chapter,
        "results": [asdict(result) for result in Results(chapter, results).values()],
    }
    path = results_path(chapter)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")
    return path


def load_results(chapter: str) -> Results:
    """Read and check `book/results/<chapter>.json`."""
    path = results_path(chapter)
    if not path.exists():
        raise CourseError(
            f"No stored results for {chapter!r} (looked for {path}). "
            f"Stored: {', '.join(stored_names()) or 'none'}. "
            f"Compute them with: course results {chapter} --store, or set COURSE_ROOT to the "
            "folder of the course."
        )
    return parse_results(path.read_text(encoding="utf-8"), where=path.name)


def parse_results(text: str, where: str) -> Results:
    """Check a results document and return its numbers; `where` names it in the messages."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CourseError(f"{where} is not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CourseError(f'{where}: expected an object with "schema": {SCHEMA}. Store it again.')
    if lacking := {"chapter", "results"} - document.keys():
        raise CourseError(f"{where}: missing {sorted(lacking)}.")
    return Results(
        document["chapter"],
        [_parse(entry, f"{where}, entry {i}") for i, entry in enumerate(document["results"])],
    )


def _parse(entry: Any, where: str) -> Result:
    expected = {field.name for field in fields(Result)}
    found = entry.keys() if isinstance(entry, dict) else set()
    if expected != found:
        raise CourseError(
            f"{where}: missing {sorted(expected - found)}, unknown {sorted(found - expected)}."
        )
    for key, value in sorted(entry.items()):
        if not isinstance(value, KINDS.get(key, str)) or isinstance(value, bool):
            raise CourseError(f"{where}: {key} has the wrong type, got {value!r}.")
    if not entry["command"]:
        raise CourseError(f"{where}: a number without a command is not a measurement.")
    for key in ("value", "tolerance"):  # JSON writes 2.0 as 2
        entry[key] = None if entry[key] is None else float(entry[key])
    return Result(**entry)
