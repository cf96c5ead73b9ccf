"""Images side by side, with titles, captions and an enlarged detail; spectra of images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from course_lib.plotting.pictures import (
    Labels,
    checked_labels,
    named_images,
    psnr_text,
    to_bytes,
    to_numpy,
)
from course_lib.plotting.style import DPI, SHARPNESS, STYLE, WIDTH, CourseFigure

DECADES = 6.0  # powers of ten from the brightest value of a spectrum to the darkest colour
FRAME = "#ff9d5c"
Box = tuple[float, float, float, float]  # row, column, height, width


@dataclass(frozen=True)
class ColourScale:
    """The values drawn in the first and the last colour of a map; what lies outside is clipped."""

    vmin: float = 0.0
    vmax: float = 1.0
    cmap: str = "gray"


@matplotlib.rc_context(STYLE)
def show_images(
    images: Any,
    titles: Labels = None,
    *,
    truth: Any = None,
    captions: Labels = None,
    zoom: Box | None = None,
    columns: int | None = None,
    rows: Sequence[str] = (),
    scale: ColourScale = ColourScale(),
) -> CourseFigure:
    """Draw images side by side, pixel by pixel, without axes.

    Args:
        images: one image, a batch (B, C, H, W), a list, or a dict {title: image}. Sizes may differ.
        titles: one string an image, above it.
        truth: the clean image. Images of its shape get their PSNR (dB, peak 1) below.
        captions: one string an image, printed below it in place of the PSNR.
        zoom: (row, column, height, width) of a detail, in pixels of `truth` or else of the first
            image; each image then carries the detail, enlarged, in the corner farthest from it.
        columns: images in a row; by default at most 4.
        rows: one string a row, to the left of it.
        scale: the values drawn black and white, and the colour map of one-channel images.
    Raises:
        ValueError: not the shape of an image, a wrong number of titles or rows, a zoom box outside
            it.
    """
    images, titles = named_images(images, titles)
    reference = to_numpy(images[0] if truth is None else truth).shape
    captions = checked_labels(captions, images, "captions") or [psnr_text(x, truth) for x in images]
    arrays = [to_numpy(image) for image in images]
    boxes = [_zoom_box(zoom, reference, array.shape) if zoom else None for array in arrays]
    figure, panels, cell = _panels(arrays, columns, lines=1.2 * any(titles) + any(captions))
    labels = zip(titles, captions, strict=True)
    for panel, array, box, (title, caption) in zip(panels, arrays, boxes, labels, strict=True):
        _draw_image(panel, array, cell, scale)
        panel.set(title=title, xlabel=caption)
        if box:
            _draw_zoom(panel, array, box, scale)
    _label_rows(panels, rows)
    figure.summary = "images: " + ", ".join(
        " ".join(filter(None, pair)) or "untitled" for pair in zip(titles, captions, strict=True)
    )
    return figure


@matplotlib.rc_context(STYLE)
def show_spectrum(
    images: Any, titles: Labels = None, *, size: tuple[int, int] | None = None
) -> CourseFigure:
    """Draw log10 |DFT| of images or kernels, zero frequency in the middle, in cycles per pixel.

    The DFT is unnormalised. Colour images show the root mean square over channels.

    Args:
        images, titles: as in `show_images`; all spectra share one colour scale.
        size: (H, W) to which a kernel is zero-padded first, for a fine grid of frequencies.
    """
    images, titles = named_images(images, titles)
    spectra = [_log_spectrum(to_numpy(image), size) for image in images]
    top = max(spectrum.max() for spectrum in spectra)
    figure, panels, _ = _panels(spectra, None, lines=3.4, max_columns=3, width=0.84 * WIDTH)
    ticks = [-0.5, 0, 0.5]
    for panel, spectrum, title in zip(panels, spectra, titles, strict=True):
        (h, w) = spectrum.shape
        left, upper = (-(w // 2) - 0.5) / w, (-(h // 2) - 0.5) / h
        drawn = panel.imshow(
            spectrum,
            cmap="magma",
            vmin=top - DECADES,
            vmax=top,
            interpolation="nearest",
            aspect=h / w,
            extent=(left, left + 1, upper + 1, upper),
        )
        panel.set(title=title, xlabel="cycles / pixel", xticks=ticks, yticks=ticks)
    figure.colorbar(drawn, ax=panels, label=r"$\log_{10}|\mathrm{DFT}|$", shrink=0.9, aspect=25)
    figure.summary = "spectra: " + ", ".join(title or "untitled" for title in titles)
    return figure


def _log_spectrum(array: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """(H, W) of log10 |DFT|, centred."""
    if size is not None and (size[0] < array.shape[0] or size[1] < array.shape[1]):
        raise ValueError(f"size: cannot pad {array.shape[:2]} to the smaller {tuple(size)}.")
    power = np.abs(np.fft.fft2(np.atleast_3d(array), s=size, axes=(0, 1))) ** 2
    magnitude = np.fft.fftshift(np.sqrt(power.mean(-1)))
    return np.log10(np.maximum(magnitude, np.finfo(float).tiny))


def _panels(
    arrays: list[np.ndarray],
    columns: int | None,
    *,
    lines: float,
    max_columns: int = 4,
    width: float = WIDTH,
) -> tuple[CourseFigure, list[Axes], float]:
    """A figure with one panel an array; also the width of a panel in inches.

    Each row has room for `lines` of text; the panels share `width` inches.
    """
    rows = math.ceil(len(arrays) / (columns or max_columns))
    columns = columns or math.ceil(len(arrays) / rows)
    cell = min(width / columns - 0.08, 3.4)
    aspects = [min(array.shape[0] / array.shape[1], 1.5) for array in arrays]
    tall = [max(aspects[start : start + columns]) for start in range(0, len(arrays), columns)]
    height = round(cell * sum(tall) + rows * (0.19 * lines + 0.06), 2)
    figure = CourseFigure(figsize=(WIDTH, height))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=tall).ravel()
    for panel in panels[len(arrays) :]:
        panel.remove()
    return figure, list(panels[: len(arrays)]), cell


def _label_rows(panels: list[Axes], rows: Sequence[str]) -> None:
    firsts = [p for p in panels if (place := p.get_subplotspec()) and place.is_first_col()]
    if rows and len(rows) != len(firsts):
        raise ValueError(f"show_images: {len(firsts)} rows of images, {len(rows)} names of rows.")
    for panel, name in zip(firsts, rows, strict=False):
        panel.set_ylabel(name)


def _draw_image(panel: Axes, array: np.ndarray, cell: float, scale: ColourScale) -> None:
    # Pixels are drawn as squares; an image with more pixels than its panel is averaged.
    fits = array.shape[1] <= cell * SHARPNESS * DPI
    panel.imshow(
        array if array.ndim == 2 else to_bytes(array, scale.vmin, scale.vmax),
        cmap=scale.cmap,
        vmin=scale.vmin,
        vmax=scale.vmax,
        interpolation="nearest" if fits else "hanning",
    )
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _zoom_box(zoom: Box, reference: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box in the pixels of an image, not of the reference."""
    row, column, height, width = zoom
    (h, w), (own_h, own_w) = reference[:2], shape[:2]
    if min(row, column) < 0 or min(height, width) < 1 or row + height > h or column + width > w:
        raise ValueError(
            f"zoom: (row, column, height, width) = {tuple(zoom)} does not lie inside "
            f"an image of {h} x {w} pixels."
        )
    return row * own_h / h, column * own_w / w, height * own_h / h, width * own_w / w


def _draw_zoom(panel: Axes, array: np.ndarray, box: Box, scale: ColourScale) -> None:
    row, column, height, width = box
    h, w = array.shape[:2]
    factor = min(0.46 * w / width, 0.46 * h / height)
    inset_w, inset_h = factor * width / w, factor * height / h
    left = 0.0 if column + width / 2 > w / 2 else 1 - inset_w
    bottom = 0.0 if row + height / 2 < h / 2 else 1 - inset_h
    inset = panel.inset_axes((left, bottom, inset_w, inset_h))
    _draw_image(inset, array, 0.0 if factor < 1 else math.inf, scale)
    inset.set(xlim=(column - 0.5, column + width - 0.5), ylim=(row + height - 0.5, row - 0.5))
    inset.spines[:].set(visible=True, color=FRAME, linewidth=1.6)
    corner = (column - 0.5, row - 0.5)
    panel.add_patch(Rectangle(corner, width, height, fill=False, color=FRAME, linewidth=1.2))
