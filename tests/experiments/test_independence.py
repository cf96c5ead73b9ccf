"""No experiment tunes on an image that it is measured on, and no photograph counts twice."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import course_lib.experiments
from course_lib.data import crops as cropping
from course_lib.data import photos as bundled
from course_lib.data.worlds import WORLDS
from course_lib.experiments.shared import load_images, photographs
from course_lib.results.registry import BUDGETS

TREES = {
    path.stem: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(Path(course_lib.experiments.__file__).parent.glob("*.py"))
}


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """The Berkeley photographs that were opened since it was last cleared, as folder/number."""
    rng = np.random.default_rng(0)
    for folder, count in (("train", 60), ("test", 110)):
        (tmp_path / "bsds500" / folder).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(20, 236, (70, 80)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "bsds500" / folder / f"{i:03}.png")
    found, read = [], cropping.open_picture

    def open_picture(file: Path, *, colour: bool) -> torch.Tensor:
        found.append(f"{file.parent.name}/{file.stem}")
        return read(file, colour=colour)

    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cropping, "open_picture", open_picture)
    return found


def test_photographs_of_a_stored_table_are_tuned_and_tested_on_apart(opened):
    load_images("photos", "test", 110, "full")
    assert sorted(opened) == [f"test/{i:03}" for i in range(110)]  # each of them once
    opened.clear()
    photographs("full", 32)
    assert sorted(opened) == [f"test/{i:03}" for i in range(100)]
    opened.clear()
    load_images("photos", "validation", 50, "full")
    assert sorted(opened) == [f"train/{i:03}" for i in range(10, 60)]


@pytest.mark.parametrize("budget", [b for b in BUDGETS if b != "full"])
@pytest.mark.parametrize(("split", "names"), [("test", "TEST"), ("validation", "TUNING")])
def test_bundled_photographs_are_tuned_and_tested_on_apart(monkeypatch, budget, split, names):
    allowed, found, decode = getattr(bundled, f"{names}_PHOTOS"), [], bundled._decode
    monkeypatch.setattr(bundled, "_decode", lambda name: found.append(name) or decode(name))
    load_images("photos", split, len(allowed), budget)
    assert sorted(found) == sorted(allowed)  # each of them once
    assert not set(bundled.TEST_PHOTOS) & set(bundled.TUNING_PHOTOS)


@pytest.mark.parametrize("world", WORLDS)
def test_rendered_images_are_trained_tuned_and_tested_on_apart(world):
    splits = [
        load_images(world, split, 24, "full").images for split in ("train", "validation", "test")
    ]
    everything = torch.cat(splits).flatten(1)
    assert len(everything.unique(dim=0)) == len(everything)


def splits_in(tree: ast.AST) -> list[str]:
    """The splits that a piece of code names."""
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return [text for text in texts if text in ("train", "validation", "test")]


def tuning_code(tree: ast.Module) -> dict[str, ast.AST]:
    """Functions, and values of variables, whose names say that something is tuned or fitted."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {t.id: node.value for t in node.targets if isinstance(t, ast.Name)}
    return {name: node for name, node in found.items() if "tun" in name.lower()}


@pytest.mark.parametrize("module", TREES)
def test_what_tunes_names_no_test_images(module):
    for name, code in tuning_code(TREES[module]).items():
        assert "test" not in splits_in(code), name


def test_a_slip_is_seen():
    """The check finds tuning code, and a test split in it."""
    assert any(tuning_code(tree) for tree in TREES.values())
    (slip,) = tuning_code(ast.parse('tuning = load_world(world, "test", 8)')).values()
    assert splits_in(slip) == ["test"]
