"""Figures of the book: images, spectra, curves, and pictures under a slider.

This folder is the only home of matplotlib. Its functions return a `CourseFigure` (or a `Slider`),
which a notebook shows once, as the value of the last line of a cell.
"""

from course_lib.plotting.curves import (
    plot_bars,
    plot_curves,
    plot_history,
    plot_panels,
    plot_paths,
)
from course_lib.plotting.images import ColourScale, show_images, show_spectrum
from course_lib.plotting.intervals import plot_intervals
from course_lib.plotting.pictures import decibels
from course_lib.plotting.sliders import Slider, compare, film
from course_lib.plotting.style import CourseFigure

__all__ = [
    "ColourScale",
    "CourseFigure",
    "Slider",
    "compare",
    "decibels",
    "film",
    "plot_bars",
    "plot_curves",
    "plot_history",
    "plot_intervals",
    "plot_panels",
    "plot_paths",
    "show_images",
    "show_spectrum",
]
