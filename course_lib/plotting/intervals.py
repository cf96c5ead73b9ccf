"""Differences with their intervals, one a line: which of them exclude zero is seen at a glance."""

from collections.abc import Mapping

import matplotlib
import numpy as np

from course_lib.plotting.style import ACCENT, INK, STYLE, WIDTH, CourseFigure

Interval = tuple[float, float]  # middle, half of the width


@matplotlib.rc_context(STYLE)
def plot_intervals(
    panels: Mapping[str, Mapping[str, Interval]],
    xlabel: str = "",
    *,
    reference: float = 0.0,
    same_scale: bool = False,
) -> CourseFigure:
    """Draw numbers as points with a bar for each interval, panel by panel.

    Args:
        panels: {title: {label: (value, half of its interval)}}, with the same labels in each
            panel; a title names the quantity and its unit.
        xlabel: common name of the abscissae, below the panels.
        reference: a value that is marked by a line, such as no difference.
        same_scale: whether all panels have one abscissa.

    Raises:
        ValueError: no panel, or panels with other labels than the first.
    """
    if not panels:
        raise ValueError("plot_intervals: expected at least one panel, got none.")
    labels = list(next(iter(panels.values())))
    figure = CourseFigure(figsize=(WIDTH, 0.8 + 0.24 * len(labels)))
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True, sharex=same_scale))
    places = np.arange(len(labels))
    for panel, (title, rows) in zip(axes, panels.items(), strict=True):
        if list(rows) != labels:
            raise ValueError(
                f"plot_intervals: panel {title!r} has the labels {list(rows)}, expected {labels}."
            )
        values, halves = np.array(list(rows.values()), dtype=float).T
        panel.axvline(reference, color=INK, linewidth=1, linestyle="--")
        panel.errorbar(values, places, xerr=halves, fmt="o", color=ACCENT, markersize=4, capsize=2)
        panel.set_title(title, fontsize="small")
        panel.grid(True, axis="y")
        panel.ticklabel_format(axis="x", scilimits=(-1, 3))
        panel.locator_params(axis="x", nbins=5 if len(panels) < 4 else 2)
    axes[0].set_yticks(places, labels)
    axes[0].invert_yaxis()
    if xlabel:
        figure.supxlabel(xlabel, fontsize="medium")
    figure.summary = f"intervals of {', '.join(panels)}, for: {', '.join(labels)}"
    return figure
