"""Points and bars stand where the numbers say."""

import numpy as np
import pytest

from course_lib.plotting import plot_intervals

PANELS = {
    "PSNR (dB)": {"first": (1.0, 0.25), "second": (-2.0, 0.5)},
    "LPIPS": {"first": (0.01, 0.0), "second": (0.02, 0.03)},
}


def test_points_and_bars_are_the_given_numbers():
    figure = plot_intervals(PANELS, "difference", reference=0.5)
    for panel, (title, rows) in zip(figure.axes, PANELS.items(), strict=True):
        assert panel.get_title() == title
        (points, _, (bars,)) = panel.containers[0]
        values, halves = np.array(list(rows.values())).T
        assert points.get_xdata().tolist() == values.tolist()
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, np.stack([values - halves, values + halves], axis=1))
        assert panel.lines[0].get_xdata() == [0.5, 0.5]
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["first", "second"]
    low, high = first.get_ylim()
    assert low > high  # the first label is on top
    assert figure.get_supxlabel() == "difference"
    assert "PSNR (dB), LPIPS, for: first, second" in figure.summary


def test_one_scale_for_all_panels_on_request():
    apart, together = (plot_intervals(PANELS, same_scale=same) for same in (False, True))
    assert apart.axes[0].get_xlim() != apart.axes[1].get_xlim()
    assert together.axes[0].get_xlim() == together.axes[1].get_xlim()


def test_refusals():
    with pytest.raises(ValueError, match="expected at least one panel, got none"):
        plot_intervals({})
    with pytest.raises(ValueError, match=r"panel 'b' has the labels \['y'\], expected \['x'\]"):
        plot_intervals({"a": {"x": (0, 1)}, "b": {"y": (0, 1)}})
