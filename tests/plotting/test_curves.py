"""Curves have the values, axes and colours that were asked for."""

from types import SimpleNamespace

import pytest
import torch
from matplotlib.colors import to_rgb

from course_lib.plotting import plot_curves, plot_history, plot_panels


def test_history_of_solutions_lists_and_bounds(drawn):
    solution = SimpleNamespace(history={"objective": [3.0, 2.0, 1.5]})
    figure = plot_history(
        {"fixed": solution, "optimal": torch.tensor([3.0, 1.25])},
        reference=1.0,
        bounds={"fixed": [4, 2, 1]},
    )
    fixed, optimal, bound = figure.axes[0].lines
    assert list(fixed.get_ydata()) == [2, 1, 0.5]
    assert list(optimal.get_ydata()) == [2, 0.25]
    assert bound.get_color() == fixed.get_color()
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xlabel() == "iteration"
    assert "objective" in figure.axes[0].get_ylabel()
    drawn(figure)
    batch = SimpleNamespace(history={"objective": torch.tensor([[3.0, 9.0], [2.0, 5.0]])})
    lines = plot_history({"two images": batch}, reference=torch.tensor([1.0, 4.0])).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[2, 1], [5, 1]]
    with pytest.raises(ValueError, match=r"no entry 'change'; it recorded \['objective'\]"):
        plot_history(solution, key="change")
    with pytest.raises(ValueError, match="logarithmic axis"):
        plot_history([1.0, 1.0], reference=1.0)


def test_bands_have_the_colour_and_width_of_their_curve():
    figure = plot_curves(
        [1, 2, 4], {"a": [3, 2, 5], "b": [1, 1, 1]}, "m", "dB", bands={"a": [0.5, 0.1, 1]}
    )
    axes = figure.axes[0]
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == (1.9, 6.0)  # 2 - 0.1 and 5 + 1
    colour = to_rgb(axes.lines[0].get_color())
    assert tuple(band.get_facecolor()[0][:3]) == colour


def test_panels_have_their_curves_bands_and_one_legend(drawn):
    panels = {"near": {"a": [1, 2], "b": [2, 3]}, "far": {"a": [0, 1], "b": [5, 4]}}
    figure = plot_panels([0, 1], panels, "level", "share", bands={"far": {"b": [1, 0.5]}})
    near, far = figure.axes
    assert [panel.get_title() for panel in (near, far)] == ["near", "far"]
    assert near.get_ylim() == far.get_ylim()
    assert list(far.lines[1].get_ydata()) == [5, 4]
    assert len(near.collections) == 0
    low, high = far.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (3.5, 6.0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    drawn(figure)
    with pytest.raises(ValueError, match=r"panel 'far' has the curves \['c'\], expected \['a'\]"):
        plot_panels([0], {"near": {"a": [1]}, "far": {"c": [1]}}, "x", "y")
    with pytest.raises(ValueError, match="1 values for 2 abscissae"):
        plot_panels([0, 1], {"near": {"a": [1]}}, "x", "y")


def test_curves_and_marked_points(drawn):
    figure = plot_curves(
        [1, 2, 4],
        {"error": [3, 2, 5], "predicted": [3, 2, 4]},
        r"$\lambda$",
        "PSNR (dB)",
        log="x",
        marks={"oracle": (2, 2)},
        dashed=("predicted",),
    )
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "error",
        "predicted",
        "oracle",
    ]
    drawn(figure)
    with pytest.raises(ValueError, match="2 values for 3 abscissae"):
        plot_curves([1, 2, 3], {"a": [1, 2]}, "x", "y")
    with pytest.raises(ValueError, match="expected"):
        plot_curves([1], {"a": [1]}, "x", "y", log="z")
