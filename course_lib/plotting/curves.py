"""Curves: histories of solvers, functions of a parameter, bars, and paths in the plane."""

import math
from collections.abc import Callable, Collection
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.plotting.pictures import to_numpy
from course_lib.plotting.style import ACCENT, COLOURS, INK, STYLE, WIDTH, CourseFigure

HEIGHT = 3.2  # inches


@matplotlib.rc_context(STYLE)
def plot_history(
    histories: Any,
    key: str = "objective",
    *,
    reference: Any = None,
    bounds: dict[str, Any] | None = None,
    ylabel: str | None = None,
) -> CourseFigure:
    """Draw what solvers report at each iteration, on a logarithmic axis.

    Args:
        histories: {label: Solution or values (n,) or (n, B)} of any lengths, or a single one of
            them. A batch is drawn as B curves of one colour.
        key: the entry of `Solution.history` to draw.
        reference: subtracted from the values, for a gap such as f(x_n) - f*; a number, or (B,).
        bounds: {label: values}, theoretical bounds as thin dashed lines; a label shared with a
            history shares its colour.
        ylabel: name of the values, `key` by default.
    """
    histories = histories if isinstance(histories, dict) else {"": histories}
    offset = 0.0 if reference is None else _rows(reference).T
    curves = {label: _history(h, key, label) - offset for label, h in histories.items()}
    ylabel = ylabel or (key if reference is None else f"{key} − reference")
    figure, axes = _axes("iteration", ylabel, "y")
    _check_positive(curves)
    colours = {}
    for label, values in curves.items():
        (line,) = axes.plot(values[:, 0], label=label)
        colours[label] = line.get_color()
        axes.plot(values[:, 1:], color=line.get_color(), linestyle=line.get_linestyle())
    for label, values in (bounds or {}).items():
        shown = f"bound, {label}" if label in colours else label
        colour = colours.get(label, INK)
        axes.plot(_values(values), label=shown, color=colour, linestyle="--", linewidth=1.1)
    return _with_legend(figure, axes, f"{ylabel} against iteration")


@matplotlib.rc_context(STYLE)
def plot_curves(
    x: Any,
    curves: dict[str, Any],
    xlabel: str,
    ylabel: str,
    *,
    log: str = "",
    marks: dict[str, tuple] | None = None,
    bands: dict[str, Any] | None = None,
    dashed: Collection[str] = (),
) -> CourseFigure:
    """Draw curves over a common abscissa.

    Args:
        x: (n,) abscissae.
        curves: {label: (n,) values}.
        xlabel, ylabel: names of both axes.
        log: the logarithmic axes: "", "x", "y" or "xy".
        marks: {label: (x, y)}, chosen points drawn as markers, such as the minimum of a curve.
        bands: {label: (n,) half-widths}, error bands around the curves of these labels.
        dashed: labels of curves drawn thin, dashed and grey, such as a prediction.
    """
    figure, axes = _axes(xlabel, ylabel, log)
    if "y" in log:
        _check_positive({label: _values(y) for label, y in curves.items()})
    _draw("plot_curves", axes, x, curves, bands or {}, dashed)
    looks = zip("os^Dv*", COLOURS[1:] + COLOURS[:1], strict=True)
    for (label, point), (marker, colour) in zip((marks or {}).items(), cycle(looks), strict=False):
        axes.plot(*map(float, point), marker, color=colour, markersize=8, label=label, zorder=3)
    return _with_legend(figure, axes, f"{ylabel} against {xlabel}")


@matplotlib.rc_context(STYLE)
def plot_panels(
    x: Any,
    panels: dict[str, dict[str, Any]],
    xlabel: str,
    ylabel: str,
    *,
    bands: dict[str, dict[str, Any]] | None = None,
    dashed: Collection[str] = (),
) -> CourseFigure:
    """Draw several sets of curves side by side, with one legend and one scale.

    Args:
        x: (n,) abscissae.
        panels: {title: {label: (n,) values}}, with the same labels in each panel.
        xlabel, ylabel: names of both axes.
        bands: {title: {label: (n,) half-widths}}, error bands.
        dashed: labels of curves drawn thin, dashed and grey.

    Raises:
        ValueError: panels with other labels than the first, or a curve of another length.
    """
    labels = list(next(iter(panels.values())))
    figure = CourseFigure(figsize=(WIDTH, HEIGHT))
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharex=True, sharey=True))
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        if list(curves) != labels:
            raise ValueError(
                f"plot_panels: panel {title!r} has the curves {list(curves)}, expected {labels}."
            )
        _draw("plot_panels", panel, x, curves, (bands or {}).get(title, {}), dashed)
        panel.set(title=title, xlabel=xlabel)
        panel.grid(True)
    axes[0].set_ylabel(ylabel)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=len(labels), handlelength=2.2)
    figure.summary = f"curves: {ylabel} against {xlabel}, by panel: {', '.join(panels)}"
    return figure


@matplotlib.rc_context(STYLE)
def plot_bars(values: dict[str, float], xlabel: str, *, fmt: str = ".2f") -> CourseFigure:
    """Draw one horizontal bar a label on a linear scale, with the number beside each."""
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
    f: Callable[[Tensor], Tensor],
    paths: dict[str, Any],
    xlabel: str,
    ylabel: str,
    goal: str = "minimum",
) -> CourseFigure:
    """Draw the way of iterations in the plane over the level lines of a function.

    Args:
        f: maps points (n, 2), float64, to values (n,).
        paths: {label: (n, 2) points}; the last point of the last path is marked as the goal.
        xlabel, ylabel: names of both axes, which have the same scale.
        goal: its name.
    """
    paths = {label: to_numpy(points) for label, points in paths.items()}
    figure, axes = _axes(xlabel, ylabel, "", height=4.2)
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
    axes.plot(*path[-1], "+", color=INK, markersize=13, markeredgewidth=2, label=goal)
    axes.set_aspect("equal")
    return _with_legend(figure, axes, f"paths over {xlabel} and {ylabel}")


def _draw(
    caller: str,
    axes: Axes,
    x: Any,
    curves: dict[str, Any],
    bands: dict[str, Any],
    dashed: Collection[str],
) -> None:
    """Curves over a common abscissa, with their error bands."""
    x = _values(x)
    for label, values in curves.items():
        y = _values(values)
        if len(y) != len(x):
            raise ValueError(
                f"{caller}: curve {label!r} has {len(y)} values for {len(x)} abscissae."
            )
        thin = {"color": INK, "linestyle": "--", "linewidth": 1.2} if label in dashed else {}
        (line,) = axes.plot(x, y, label=label, **thin)
        if label in bands:
            half = _values(bands[label])
            axes.fill_between(x, y - half, y + half, color=line.get_color(), alpha=0.2, lw=0)


def _axes(xlabel: str, ylabel: str, log: str, height: float = HEIGHT) -> tuple[CourseFigure, Axes]:
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


def _with_legend(figure: CourseFigure, axes: Axes, summary: str) -> CourseFigure:
    labels = [str(line.get_label()) for line in axes.lines]
    labels = [label for label in labels if label and not label.startswith("_")]
    if labels:  # above the axes, where it never covers a curve
        rows = math.ceil(sum(len(label) + 8 for label in labels) / 88)
        columns = math.ceil(len(labels) / rows)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=2.6)
    figure.summary = f"curves: {summary}" + (": " + ", ".join(labels) if labels else "")
    return figure


def _values(sequence: Any) -> np.ndarray:
    return _rows(sequence).ravel()


def _rows(sequence: Any) -> np.ndarray:
    """(n, B) array: one row an iteration, one column an image."""
    values = sequence.detach().cpu() if isinstance(sequence, Tensor) else sequence
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return values.reshape(len(values), -1)


def _history(history: Any, key: str, label: str) -> np.ndarray:
    recorded = getattr(history, "history", None)
    if recorded is None:
        return _rows(history)
    if key not in recorded:
        raise ValueError(
            f"plot_history: {label or 'the solution'} has no entry {key!r}; "
            f"it recorded {sorted(recorded)}."
        )
    return _rows(recorded[key])


def _check_positive(curves: dict[str, np.ndarray]) -> None:
    for label, values in curves.items():
        if not (values > 0).any():
            raise ValueError(
                f"{label or 'the curve'}: no positive value to draw on a logarithmic axis. "
                "Use a linear axis, or check the reference that was subtracted."
            )
