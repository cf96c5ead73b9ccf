"""Figures of the book: images, spectra, curves, and pictures under a slider.

This module is the only home of matplotlib. Its functions return a `CourseFigure` (or a
`Slider`), which a notebook shows once, as the value of the last line of a cell. Figures are
transparent, in inks chosen for equal contrast on the light and on the dark page, and all have the
same width, so that their letters have one size throughout the book.

Images are (C, H, W), (1, C, H, W) or (H, W), C = 1 or 3, as torch tensors or numpy arrays. What
lies outside [vmin, vmax] is drawn clipped; the caller's tensors are never changed.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import torch
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from course_lib.metrics import psnr

ACCENT = "#12897b"  # the teal of the theme, in the tone that reads on white and on black
INK = "#757b84"  # letters and axes: contrast 4.2 on both pages
COLOURS = [ACCENT, "#d9642b", "#4f81d8", "#b3549b", "#a1842c", "#808080"]
DASHES = ["-", (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (9, 3)), (0, (1, 2.5))]
WIDTH = 7.0  # inches: 700 px on the page
DPI = 100
SHARPNESS = 1.5  # stored pixels a page pixel: crisp letters, and notebooks below 2 MB

STYLE = {
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


def use_course_style() -> None:
    """Give your own pyplot figures the look of the book; the functions below do without."""
    matplotlib.rcParams.update(STYLE)


class CourseFigure(Figure):
    """A Figure that pyplot does not know: a notebook shows it once, as the value of a cell."""

    summary = "figure"

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=SHARPNESS * DPI, metadata={"Software": None})
        width, height = (round(DPI * inches) for inches in self.get_size_inches())
        data = {
            "image/png": base64.b64encode(_without_colour(buffer.getvalue())).decode(),
            "text/plain": self.summary,
        }
        return data, {"image/png": {"width": width, "height": height}}


@matplotlib.rc_context(STYLE)
def show_images(
    images,
    titles=None,
    *,
    truth=None,
    captions=None,
    zoom=None,
    columns=None,
    vmin: float = 0.0,
    vmax: float = 1.0,
    cmap: str = "gray",
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
        vmin, vmax: the values drawn black and white.
        cmap: matplotlib colour map of one-channel images.
    Raises:
        ValueError: not the shape of an image, a wrong number of titles, a zoom box outside it.
    """
    images, titles = _named_images(images, titles)
    reference = images[0] if truth is None else truth
    captions = _checked_labels(captions, images, "captions") or [
        _psnr_text(image, truth) for image in images
    ]
    arrays = [_to_numpy(image) for image in images]
    boxes = [
        _zoom_box(zoom, _to_numpy(reference).shape, array.shape) if zoom else None
        for array in arrays
    ]
    figure, panels, cell = _panels(arrays, columns, lines=1.2 * any(titles) + any(captions))
    for panel, array, title, caption, box in zip(
        panels, arrays, titles, captions, boxes, strict=True
    ):
        _draw_image(panel, array, cell, vmin, vmax, cmap)
        panel.set_title(title)
        panel.set_xlabel(caption)
        if box:
            _draw_zoom(panel, array, box, vmin, vmax, cmap)
    figure.summary = "images: " + ", ".join(
        " ".join(filter(None, pair)) or "untitled" for pair in zip(titles, captions, strict=True)
    )
    return figure


@matplotlib.rc_context(STYLE)
def show_spectrum(
    images, titles=None, *, size=None, decades: float = 6.0, columns=None, cmap: str = "magma"
) -> CourseFigure:
    """Draw log10 |DFT| of images or kernels, zero frequency in the middle, in cycles per pixel.

    The DFT is unnormalised. Colour images show the root mean square over channels.

    Args:
        images, titles, columns: as in `show_images`; all spectra share one colour scale.
        size: (H, W) to which a kernel is zero-padded first, for a fine grid of frequencies.
        decades: powers of ten between the brightest value and the darkest colour.
    """
    images, titles = _named_images(images, titles)
    spectra = [_log_spectrum(_to_numpy(image), size) for image in images]
    top = max(spectrum.max() for spectrum in spectra)
    figure, panels, _ = _panels(spectra, columns, lines=3.4, max_columns=3, width=0.84 * WIDTH)
    for panel, spectrum, title in zip(panels, spectra, titles, strict=True):
        (h, w) = spectrum.shape
        left, upper = (-(w // 2) - 0.5) / w, (-(h // 2) - 0.5) / h
        drawn = panel.imshow(
            spectrum,
            cmap=cmap,
            vmin=top - decades,
            vmax=top,
            interpolation="nearest",
            aspect=h / w,
            extent=(left, left + 1, upper + 1, upper),
        )
        panel.set(
            title=title, xlabel="cycles / pixel", xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5]
        )
    figure.colorbar(drawn, ax=panels, label=r"$\log_{10}|\mathrm{DFT}|$", shrink=0.9, aspect=25)
    figure.summary = "spectra: " + ", ".join(title or "untitled" for title in titles)
    return figure


@matplotlib.rc_context(STYLE)
def plot_history(
    histories,
    key: str = "objective",
    *,
    reference=None,
    bounds=None,
    log: bool | str = True,
    start: int = 0,
    xlabel: str = "iteration",
    ylabel: str | None = None,
    height: float = 3.2,
) -> CourseFigure:
    """Draw what solvers report at each iteration.

    Args:
        histories: {label: Solution or values (n,) or (n, B)} of any lengths, or a single one of
            them. A batch is drawn as B curves of one colour.
        key: the entry of `Solution.history` to draw.
        reference: subtracted from the values, for a gap such as f(x_n) - f*; a number, or (B,).
        bounds: {label: values}, theoretical bounds as thin dashed lines; a label shared with a
            history shares its colour.
        log: True for a logarithmic vertical axis, False for none, or "x", "y", "xy".
        start: the number of the first iteration.
    """
    histories = histories if isinstance(histories, dict) else {"": histories}
    offset = 0.0 if reference is None else _rows(reference).T
    curves = {label: _history(h, key, label) - offset for label, h in histories.items()}
    ylabel = ylabel or (key if reference is None else f"{key} − reference")
    figure, axes = _axes(xlabel, ylabel, {True: "y", False: ""}.get(log, log), height)
    _check_positive(curves, axes.get_yscale() == "log")
    colours = {}
    for label, values in curves.items():
        steps = start + np.arange(len(values))
        (line,) = axes.plot(steps, values[:, 0], label=label)
        colours[label] = line.get_color()
        axes.plot(steps, values[:, 1:], color=line.get_color(), linestyle=line.get_linestyle())
    for label, values in (bounds or {}).items():
        values, shown = _rows(values), f"bound, {label}" if label in colours else label
        look = {"color": colours.get(label, INK), "linestyle": "--", "linewidth": 1.1}
        axes.plot(start + np.arange(len(values)), values[:, 0], label=shown, **look)
    return _with_legend(figure, axes, f"{ylabel} against {xlabel}")


@matplotlib.rc_context(STYLE)
def plot_curves(
    x,
    curves: dict[str, Any],
    xlabel: str,
    ylabel: str,
    *,
    log: str = "",
    marks=None,
    bands=None,
    dashed=(),
    height: float = 3.2,
) -> CourseFigure:
    """Draw curves over a common abscissa.

    Args:
        x: (n,) abscissae.
        curves: {label: (n,) values}.
        log: the logarithmic axes: "", "x", "y" or "xy".
        marks: {label: (x, y)}, chosen points drawn as markers, such as the minimum of a curve.
        bands: {label: (n,) half-widths}, error bands around the curves of these labels.
        dashed: labels of curves drawn thin, dashed and grey, such as a prediction.
    """
    x, curves = _values(x), {label: _values(y) for label, y in curves.items()}
    for label, y in curves.items():
        if len(y) != len(x):
            raise ValueError(
                f"plot_curves: curve {label!r} has {len(y)} values for {len(x)} abscissae."
            )
    figure, axes = _axes(xlabel, ylabel, log, height)
    _check_positive(curves, "y" in log)
    for label, y in curves.items():
        thin = {"color": INK, "linestyle": "--", "linewidth": 1.2} if label in dashed else {}
        (line,) = axes.plot(x, y, label=label, **thin)
        if label in (bands or {}):
            half = _values(bands[label])
            axes.fill_between(x, y - half, y + half, color=line.get_color(), alpha=0.2, lw=0)
    looks = zip("os^Dv*", COLOURS[1:] + COLOURS[:1], strict=True)
    for (label, point), (marker, colour) in zip((marks or {}).items(), cycle(looks), strict=False):
        axes.plot(*map(float, point), marker, color=colour, markersize=8, label=label, zorder=3)
    return _with_legend(figure, axes, f"{ylabel} against {xlabel}")


@matplotlib.rc_context(STYLE)
def plot_bars(values: dict[str, float], xlabel: str, *, fmt: str = ".2f") -> CourseFigure:
    """Draw one horizontal bar a label, longest scale linear, with the number beside each."""
    figure = CourseFigure(figsize=(WIDTH, 0.6 + 0.42 * len(values)))
    axes = figure.subplots()
    numbers = [float(value) for value in values.values()]
    bars = axes.barh(list(values), numbers, height=0.62, color=ACCENT)
    axes.bar_label(bars, [f"{number:{fmt}}" for number in numbers], padding=4, color=INK)
    axes.set(xlabel=xlabel, xlim=(0, 1.12 * max(numbers)))
    axes.invert_yaxis()
    axes.grid(True, axis="x")
    figure.summary = f"bars: {xlabel}: " + ", ".join(values)
    return figure


@matplotlib.rc_context(STYLE)
def plot_paths(
    f, paths: dict[str, Any], xlabel: str, ylabel: str, *, height: float = 4.2
) -> CourseFigure:
    """Draw the way of iterations in the plane over the level lines of a function.

    Args:
        f: maps points (n, 2), float64, to values (n,).
        paths: {label: (n, 2) points}; the last point of the last path is marked as the goal.
        height: of the figure, in inches; both axes have the same scale.
    """
    paths = {label: _to_numpy(points) for label, points in paths.items()}
    figure, axes = _axes(xlabel, ylabel, "", height)
    everything = np.concatenate(list(paths.values()))
    low, high = everything.min(0), everything.max(0)
    margin = 0.15 * (high - low).max()
    grid = [np.linspace(a - margin, b + margin, 200) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*grid), axis=-1)
    values = _values(f(torch.from_numpy(points.reshape(-1, 2)))).reshape(200, 200)
    levels = values.min() + np.ptp(values) * np.linspace(0.03, 1, 12) ** 2.5
    axes.contour(*grid, values, levels=levels, colors=INK, linewidths=0.7, alpha=0.6)
    for (label, path), marker in zip(paths.items(), "os^Dv*" * len(paths), strict=False):
        axes.plot(*path.T, marker=marker, markersize=5, label=label)
    axes.plot(*path[-1], "+", color=INK, markersize=13, markeredgewidth=2, label="minimum")
    axes.set_aspect("equal")
    return _with_legend(figure, axes, f"paths over {xlabel} and {ylabel}")


@dataclass(frozen=True)
class Slider:
    """Pictures under one slider: HTML on the page, one PNG elsewhere, words at worst."""

    html: str
    png: bytes
    text: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {
            "text/html": self.html,
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": self.text,
        }

    def __repr__(self) -> str:
        return self.text


def compare(
    before,
    after,
    labels: tuple[str, str] = ("degraded", "restored"),
    *,
    alt: str,
    caption: str,
    truth=None,
) -> Slider:
    """Compare two images of one size under a slider that mouse, finger and arrow keys can move.

    Without JavaScript, or in a notebook that is not trusted, the pictures stand side by side.

    Args:
        before, after: images in [0, 1] of one size, at most 512 pixels a side; 256 grey pixels
            keep a page light.
        labels: what stands on the left and on the right picture.
        alt: one sentence that replaces the pictures for a reader who cannot see them.
        caption: the sentence below, plain text.
        truth: the clean image; adds each PSNR (dB) to the labels.
    Raises:
        ValueError: different or too large sizes, no alt text, no caption.
    """
    if not (alt.strip() and caption.strip()):
        raise ValueError(
            "compare: alt and caption must not be empty; describe what the two pictures show."
        )
    labels = [
        ", ".join(filter(None, (label, _psnr_text(image, truth))))
        for label, image in zip(labels, (before, after), strict=True)
    ]
    pixels = [_to_bytes(_to_numpy(image), 0.0, 1.0) for image in (before, after)]
    (h, w), size_after = (array.shape[:2] for array in pixels)
    if size_after != (h, w) or max(h, w) > 512:
        raise ValueError(
            f"compare: expected two images of one size, at most 512 pixels a side, "
            f"got {(h, w)} and {size_after}. Crop or resize them first."
        )
    pair = np.concatenate(
        [
            np.pad(p, [(0, 0), (0, 8 * (i == 0))] + [(0, 0)] * (p.ndim - 2), constant_values=255)
            for i, p in enumerate(_same_channels(pixels))
        ],
        axis=1,
    )
    sources = [_data_uri(p) for p in pixels]
    left, right = map(escape, labels)
    html = BEFORE_AFTER.format(
        width=w * max(1, round(512 / w)),
        left=left,
        right=right,
        alt=escape(alt),
        caption=escape(caption),
        before=sources[0],
        after=sources[1],
    )
    return Slider(html, _encode_png(pair), f"Comparison of {labels[0]} with {labels[1]}: {caption}")


BEFORE_AFTER = """\
<figure class="before-after" style="max-width:{width}px;margin:1.2rem auto"><style>
.before-after img{{display:block;width:100%;height:auto;margin:0;border-radius:0;
 image-rendering:pixelated}}
.before-after .pair{{display:flex;gap:8px}}
.before-after .side{{flex:1;min-width:0}}
.before-after .label{{display:block;font-size:.85em;text-align:center;padding:.1em .5em}}
.before-after input,.before-after .line{{display:none}}
.before-after figcaption{{text-align:center;margin-top:.6em}}
.before-after [data-live]{{--p:50%;display:block;position:relative;overflow:hidden;
 border-radius:4px;line-height:0}}
.before-after [data-live] .line,.before-after [data-live] input{{display:block;
 position:absolute;top:0;height:100%}}
.before-after [data-live] .side:first-child{{position:absolute;inset:0;z-index:1;
 clip-path:inset(0 calc(100% - var(--p)) 0 0)}}
.before-after [data-live] .label{{position:absolute;bottom:8px;right:8px;line-height:1.5;
 color:#fff;background:rgba(18,22,27,.72);border-radius:3px}}
.before-after [data-live] .side:first-child .label{{left:8px;right:auto}}
.before-after .line{{left:var(--p);width:2px;margin-left:-1px;background:#fff;z-index:2;
 box-shadow:0 0 4px rgba(0,0,0,.6);pointer-events:none}}
.before-after .line::after{{content:"\\2194";position:absolute;top:50%;left:-14px;width:30px;
 height:30px;margin-top:-15px;border-radius:50%;background:#fff;color:#12897b;
 font:18px/29px sans-serif;text-align:center;box-shadow:0 0 4px rgba(0,0,0,.5)}}
.before-after input{{-webkit-appearance:none;appearance:none;left:-22px;margin:0;opacity:0;
 width:calc(100% + 44px);z-index:3;cursor:ew-resize;touch-action:pan-y}}
.before-after input::-webkit-slider-runnable-track{{height:100%}}
.before-after input::-webkit-slider-thumb{{-webkit-appearance:none;width:44px;height:100%}}
.before-after input::-moz-range-thumb{{width:44px;height:100%;border:0}}
.before-after [data-live]:focus-within{{outline:3px solid #12897b;outline-offset:2px}}
</style><div class="pair">
<span class="side"><img src="{before}" alt="{alt} ({left})"
><span class="label">{left}</span></span>
<span class="side"><img src="{after}" alt="{alt} ({right})"
 onload="this.closest('.pair').dataset.live=1"><span class="label">{right}</span></span>
<span class="line"></span>
<input type="range" min="0" max="100" value="50"
 aria-label="Comparison slider, {left} on the left, {right} on the right"
 oninput="this.parentNode.style.setProperty('--p',this.value+'%')">
</div><figcaption>{caption}</figcaption></figure>"""


def film(frames, labels: Sequence[str], *, alt: str, caption: str) -> Slider:
    """Show one of several images of one size, chosen by a slider: a computation along its way.

    Without JavaScript, or in a notebook that is not trusted, the pictures stand one below another.

    Args:
        frames: at least two images in [0, 1] of one size, at most 512 pixels a side.
        labels: what stands below each of them, such as "after 20 steps".
        alt: one sentence that replaces the pictures for a reader who cannot see them.
        caption: the sentence below, plain text.

    Raises:
        ValueError: too few or different images, no alt text, no caption.
    """
    if not (alt.strip() and caption.strip()):
        raise ValueError("film: alt and caption must not be empty; describe what the frames show.")
    frames, labels = _named_images(frames, list(labels))
    pixels = _same_channels([_to_bytes(_to_numpy(image), 0.0, 1.0) for image in frames])
    sizes = {array.shape[:2] for array in pixels}
    (h, w) = pixels[0].shape[:2]
    if len(pixels) < 2 or len(sizes) > 1 or max(h, w) > 512:
        raise ValueError(
            f"film: expected at least two images of one size, at most 512 pixels a side, got "
            f"{len(pixels)} of {sorted(sizes)}."
        )
    pictures = "".join(
        FRAME.format(
            source=_data_uri(array),
            alt=escape(f"{alt} ({label})"),
            label=escape(label),
            loaded=ALIVE if i == len(pixels) - 1 else "",
        )
        for i, (array, label) in enumerate(zip(pixels, labels, strict=True))
    )
    html = FILM.format(
        width=w * max(1, round(512 / w)),
        pictures=pictures,
        last=len(pixels) - 1,
        caption=escape(caption),
    )
    gaps = [(0, 8), (0, 0)] + [(0, 0)] * (pixels[0].ndim - 2)
    column = np.concatenate([np.pad(array, gaps, constant_values=255) for array in pixels])
    return Slider(
        html, _encode_png(column[:-8]), f"{len(pixels)} pictures, {', '.join(labels)}: {caption}"
    )


ALIVE = """
 onload="const all=this.closest('.frames');all.dataset.live=1;all.lastElementChild.oninput()\""""
FRAME = """\
<span class="frame"><img src="{source}" alt="{alt}"{loaded}
><span class="label">{label}</span></span>
"""
FILM = """\
<figure class="film" style="max-width:{width}px;margin:1.2rem auto"><style>
.film img{{display:block;width:100%;height:auto;margin:0;border-radius:4px;
 image-rendering:pixelated}}
.film .label{{display:block;font-size:.9em;text-align:center;margin:.2em 0 .6em}}
.film .frame[hidden],.film input{{display:none}}
.film [data-live] input{{display:block;width:100%;margin:0;accent-color:#12897b}}
.film figcaption{{text-align:center;margin-top:.6em}}
</style><div class="frames">
{pictures}<input type="range" min="0" max="{last}" value="0" aria-label="Frame"
 oninput="const all=[...this.parentNode.querySelectorAll('.frame')];
all.forEach((frame,i)=>frame.hidden=i!=this.value);
this.setAttribute('aria-valuetext',all[this.value].textContent.trim())"
></div><figcaption>{caption}</figcaption></figure>"""


# --- from tensors to arrays ---------------------------------------------------------------


def decibels(*rows: torch.Tensor, truth: torch.Tensor) -> list[str]:
    """Captions for rows of images (B, C, H, W): their PSNR, or "truth" under the truth itself."""
    return [
        "truth" if row is truth else f"{value:.1f} dB"
        for row in rows
        for value in psnr(row, truth).tolist()
    ]


def _to_numpy(image) -> np.ndarray:
    """(H, W) or (H, W, 3) float64 copy of an image."""
    array = (
        image.detach().cpu()
        if isinstance(image, torch.Tensor)
        else torch.as_tensor(np.array(image))
    )
    if array.is_complex():
        raise ValueError(
            "expected a real image, got complex values. Draw .abs(), .real or .angle() of it."
        )
    shape = tuple(array.shape)
    array = array[0] if array.ndim == 4 and shape[0] == 1 else array
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in shape:
        hint = (
            "Images are channels-first; try x.movedim(-1, -3)."
            if shape[-1:] in ((1,), (3,))
            else "Show a batch as show_images(batch), one image of it as batch[0]."
        )
        raise ValueError(
            f"expected one image (C, H, W), (1, C, H, W) or (H, W) with C = 1 or 3, "
            f"got shape {shape}. {hint}"
        )
    return array.double().movedim(0, -1).squeeze(-1).numpy().copy()


def _named_images(images, titles) -> tuple[list, list[str]]:
    if isinstance(images, dict):
        if titles is not None:
            raise ValueError(
                "titles: the keys of the dict are the titles already; give one or the other."
            )
        images, titles = list(images.values()), list(images)
    elif isinstance(images, (torch.Tensor, np.ndarray)):
        images = list(images) if images.ndim == 4 else [images]
    images = list(images)
    if not images:
        raise ValueError("expected at least one image, got none.")
    return images, _checked_labels(titles, images, "titles") or [""] * len(images)


def _checked_labels(labels, images, name: str) -> list[str] | None:
    labels = [labels] if isinstance(labels, str) else labels
    if labels is not None and len(labels) != len(images):
        raise ValueError(
            f"{name}: expected {len(images)} strings, one an image, got {len(labels)}."
        )
    return labels and list(labels)


def _psnr_text(image, truth) -> str:
    if truth is None:
        return ""
    estimate, clean = (
        torch.from_numpy(np.atleast_3d(_to_numpy(t))).movedim(-1, 0)[None] for t in (image, truth)
    )
    if estimate.shape != clean.shape or torch.equal(estimate, clean):
        return ""
    return f"{psnr(estimate, clean).item():.2f} dB"


def _to_bytes(array: np.ndarray, vmin: float, vmax: float) -> np.ndarray:
    return np.rint(255 * np.clip((np.nan_to_num(array) - vmin) / (vmax - vmin), 0, 1)).astype(
        np.uint8
    )


def _same_channels(arrays: list[np.ndarray]) -> list[np.ndarray]:
    colour = any(array.ndim == 3 for array in arrays)
    return [
        np.repeat(array[..., None], 3, -1) if colour and array.ndim == 2 else array
        for array in arrays
    ]


def _encode_png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _data_uri(pixels: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(_encode_png(pixels)).decode()


def _without_colour(png: bytes) -> bytes:
    """The same picture as grey and opacity, a quarter smaller, if nothing in it is colourful."""
    picture = Image.open(BytesIO(png))
    red, green, blue, _ = (np.asarray(band, int) for band in picture.convert("RGBA").split())
    if max(np.abs(red - green).max(), np.abs(green - blue).max()) > 16:  # INK differs by 9
        return png
    buffer = BytesIO()
    picture.convert("LA").save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _log_spectrum(array: np.ndarray, size) -> np.ndarray:
    """(H, W) of log10 |DFT|, centred."""
    if size is not None and (size[0] < array.shape[0] or size[1] < array.shape[1]):
        raise ValueError(f"size: cannot pad {array.shape[:2]} to the smaller {tuple(size)}.")
    power = np.abs(np.fft.fft2(np.atleast_3d(array), s=size, axes=(0, 1))) ** 2
    magnitude = np.fft.fftshift(np.sqrt(power.mean(-1)))
    return np.log10(np.maximum(magnitude, np.finfo(float).tiny))


def _values(sequence) -> np.ndarray:
    return _rows(sequence).ravel()


def _rows(sequence) -> np.ndarray:
    """(n, B) array: one row an iteration, one column an image."""
    values = sequence.detach().cpu() if isinstance(sequence, torch.Tensor) else sequence
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return values.reshape(len(values), -1)


def _history(history, key: str, label: str) -> np.ndarray:
    recorded = getattr(history, "history", None)
    if recorded is None:
        return _rows(history)
    if key not in recorded:
        raise ValueError(
            f"plot_history: {label or 'the solution'} has no entry {key!r}; "
            f"it recorded {sorted(recorded)}."
        )
    return _rows(recorded[key])


def _check_positive(curves: dict[str, np.ndarray], logarithmic: bool) -> None:
    for label, values in curves.items():
        if logarithmic and not (values > 0).any():
            raise ValueError(
                f"{label or 'the curve'}: no positive value to draw on a logarithmic axis. "
                "Use a linear axis, or check the reference that was subtracted."
            )


# --- drawing ------------------------------------------------------------------------------


def _panels(
    arrays, columns: int | None, *, lines: float, max_columns: int = 4, width: float = WIDTH
):
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
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=tall).ravel()
    for panel in panels[len(arrays) :]:
        panel.remove()
    return figure, list(panels[: len(arrays)]), cell


def _draw_image(panel, array: np.ndarray, cell: float, vmin: float, vmax: float, cmap: str) -> None:
    # Pixels are drawn as squares; an image with more pixels than its panel is averaged.
    fits = array.shape[1] <= cell * SHARPNESS * DPI
    picture = array if array.ndim == 2 else _to_bytes(array, vmin, vmax)
    panel.imshow(
        picture, cmap=cmap, vmin=vmin, vmax=vmax, interpolation="nearest" if fits else "hanning"
    )
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _zoom_box(zoom, reference_shape, shape) -> tuple[float, float, float, float]:
    """The box (row, column, height, width) in the pixels of an image, not of the reference."""
    row, column, height, width = zoom
    (h, w), (own_h, own_w) = reference_shape[:2], shape[:2]
    if min(row, column) < 0 or min(height, width) < 1 or row + height > h or column + width > w:
        raise ValueError(
            f"zoom: (row, column, height, width) = {tuple(zoom)} does not lie inside "
            f"an image of {h} x {w} pixels."
        )
    return row * own_h / h, column * own_w / w, height * own_h / h, width * own_w / w


def _draw_zoom(panel, array: np.ndarray, box, vmin: float, vmax: float, cmap: str) -> None:
    row, column, height, width = box
    h, w = array.shape[:2]
    scale = min(0.46 * w / width, 0.46 * h / height)
    inset_w, inset_h = scale * width / w, scale * height / h
    left = 0.0 if column + width / 2 > w / 2 else 1 - inset_w
    bottom = 0.0 if row + height / 2 < h / 2 else 1 - inset_h
    inset = panel.inset_axes([left, bottom, inset_w, inset_h])
    _draw_image(inset, array, 0.0 if scale < 1 else math.inf, vmin, vmax, cmap)
    inset.set(xlim=(column - 0.5, column + width - 0.5), ylim=(row + height - 0.5, row - 0.5))
    inset.spines[:].set(visible=True, color="#ff9d5c", linewidth=1.6)
    panel.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), width, height, fill=False, color="#ff9d5c", linewidth=1.2
        )
    )


def _axes(xlabel: str, ylabel: str, log: str, height: float):
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f'log: expected "", "x", "y" or "xy", got {log!r}.')
    figure = CourseFigure(figsize=(WIDTH, height))
    axes = figure.subplots()
    axes.set(
        xlabel=xlabel,
        ylabel=ylabel,
        xscale="log" if "x" in log else "linear",
        yscale="log" if "y" in log else "linear",
    )
    axes.grid(True)
    return figure, axes


def _with_legend(figure: CourseFigure, axes, summary: str) -> CourseFigure:
    labels = [
        line.get_label()
        for line in axes.lines
        if line.get_label() and not line.get_label().startswith("_")
    ]
    if labels:  # above the axes, where it never covers a curve
        rows = math.ceil(sum(len(label) + 8 for label in labels) / 88)
        columns = math.ceil(len(labels) / rows)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=2.6)
    figure.summary = f"curves: {summary}" + (": " + ", ".join(labels) if labels else "")
    return figure
