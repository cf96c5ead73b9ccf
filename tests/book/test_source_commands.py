"""The commands of the page "From source to book", on tiny sets in the format of the real ones."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers import cheap_figures
from PIL import Image
from typer.testing import CliRunner

from course_lib.book.sources import load_sources
from course_lib.cli import app

COMMANDS = sorted(
    {
        row.command.removeprefix("course ")
        for source in load_sources()
        for row in source.rows
        if row.command.startswith("course train")
    }
)


def picture(path: Path, seed: int, size: tuple[int, int]) -> None:
    """Coloured noise of a few grey levels, which no set may refuse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(60, 200, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)


def celeba(root: Path) -> None:
    names = [f"{i:06d}.png" for i in range(1, 13)]
    for i, name in enumerate(names):
        picture(root / "img_align_celeba" / name, i, (178, 218))
    split = "".join(f"{name} {2 if i > 7 else 0}\n" for i, name in enumerate(names))
    (root / "list_eval_partition.txt").write_text(split)


def ffhq(root: Path) -> None:
    for i, number in enumerate((*range(8), *range(65_000, 65_004))):
        picture(root / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png", i, (128, 128))


def folder(root: Path) -> None:
    for i in range(40):
        picture(root / f"{i:02d}.png", i, (90, 80))


TINY = {"celeba": celeba, "ffhq": ffhq, "folder": folder}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_trains_on_a_tiny_set(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    cheap_figures(monkeypatch)
    words = shlex.split(command)
    data = words[words.index("--data") + 1]
    words[words.index("--root") + 1] = str(tmp_path / data)
    TINY[data](tmp_path / data)
    done = CliRunner().invoke(app, [*words, "--steps", "1", "--folder", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert (tmp_path / "runs" / f"{words[1]}_{data}" / f"{words[1]}.safetensors").exists()
