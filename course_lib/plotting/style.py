"""Inks and sizes of the book's figures, and a figure that a notebook shows once.

Figures are transparent, in inks chosen for equal contrast on the light and on the dark page, and
all have the same width, so that their letters have one size throughout the book.
"""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from PIL import Image

ACCENT = "#12897b"  # the teal of the theme, in the tone that reads on white and on black
INK = "#757b84"  # letters and axes: contrast 4.2 on both pages
COLOURS = [ACCENT, "#d9642b", "#4f81d8", "#b3549b", "#a1842c", "#808080"]
DASHES = ["-", (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (9, 3)), (0, (1, 2.5))]
WIDTH = 7.0  # inches: 700 px on the page
DPI = 100
SHARPNESS = 1.5  # stored pixels a page pixel: crisp letters, and notebooks below 2 MB

STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.9,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=DASHES),
}


class CourseFigure(Figure):
    """A Figure that pyplot does not know: a notebook shows it once, as the value of a cell."""

    summary = "figure"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict, dict]:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=SHARPNESS * DPI, metadata={"Software": None})
        width, height = (round(DPI * inches) for inches in self.get_size_inches())
        data = {
            "image/png": base64.b64encode(_without_colour(buffer.getvalue())).decode(),
            "text/plain": self.summary,
        }
        return data, {"image/png": {"width": width, "height": height}}


def _without_colour(png: bytes) -> bytes:
    """The same picture as grey and opacity, a quarter smaller, if nothing in it is colourful."""
    picture = Image.open(BytesIO(png))
    red, green, blue, _ = (np.asarray(band, int) for band in picture.convert("RGBA").split())
    if max(np.abs(red - green).max(), np.abs(green - blue).max()) > 16:  # INK differs by 9
        return png
    buffer = BytesIO()
    picture.convert("LA").save(buffer, format="png", optimize=True)
    return buffer.getvalue()
