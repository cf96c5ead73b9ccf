"""One photograph, and the size of a stored figure."""

import base64
from io import BytesIO

import pytest
import torch
from PIL import Image

from course_lib.plotting.style import SHARPNESS


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 24, 31, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def drawn():
    """Draws a figure as a notebook does; its size in pixels (width, height)."""

    def draw(figure) -> tuple[int, int]:
        data, metadata = figure._repr_mimebundle_()
        size = Image.open(BytesIO(base64.b64decode(data["image/png"]))).size
        shown = [SHARPNESS * metadata["image/png"][side] for side in ("width", "height")]
        assert size == pytest.approx(shown, abs=1)
        return size

    return draw
