"""What nbval compares: sanitising hides seconds, memory and rounding errors, and nothing else."""

import json
import re
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def sanitised(text: str) -> str:
    """A printed output as nbval compares it."""
    config = RawConfigParser()
    config.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    for section in config.sections():
        text = re.sub(config[section]["regex"], config[section]["replace"], text)
    return text


@pytest.mark.parametrize(
    "value",
    ["4e-02", "1e-05", "1.4e-06", "2.3e+04", "3e+00", "0.2294", "27.4 dB", "298 steps", "-84.25"],
)
def test_a_real_value_is_compared(value):
    assert value in sanitised(f"|b| = {value}: image")


@pytest.mark.parametrize("value", ["7e-16", "0e+00", "3.1e-08", "7.4 s", "12 ms", "595 MB"])
def test_what_depends_on_the_machine_is_hidden(value):
    assert value not in sanitised(f"it took {value}, 1 thread")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_checked_cell_compares_a_number_or_a_verdict(notebook):
    empty = []
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if "nbval-check-output" in cell["metadata"].get("tags", []):
            texts = (
                [*output.get("text", []), *output.get("data", {}).get("text/plain", [])]
                for output in cell["outputs"]
            )
            shown = sanitised("".join("".join(text) for text in texts))
            empty += [] if "✓" in shown or re.search(r"\d", shown) else [number]
    assert empty == []
