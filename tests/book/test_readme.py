"""README's example of the library runs as printed, and does what it says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_example_restores(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    names: dict = {}
    exec(block, names)
    assert (
        names["psnr"](names["restored"], names["x"]) > names["psnr"](names["y"], names["x"])
    ).all()
    assert "tensor" in capsys.readouterr().out
