"""Drawings of models: all of a graph is inside its frame, and no ink is lost on either page."""

import re

import pytest
from matplotlib.figure import Figure

from course_lib.plotting.drawings import draw_hierarchy, draw_variational_family
from course_lib.plotting.graphs import RADIUS, Graph, draw_graph
from course_lib.plotting.style import COLOURS, INK


@pytest.mark.parametrize("draw", [draw_hierarchy, draw_variational_family])
def test_drawings_use_the_inks_of_both_pages_only(draw, tmp_path):
    draw().savefig(tmp_path / "drawing.svg")
    svg = (tmp_path / "drawing.svg").read_text()
    inks = set(re.findall(r"(?:fill|stroke|color): ?(#[0-9a-f]{6})", svg))
    assert inks <= {INK, *COLOURS}
    assert "<rect" not in svg.split("</defs>")[-1]  # no opaque page behind the drawing


def test_every_node_and_arc_is_in_the_frame():
    axes = Figure().subplots()
    draw_graph(axes, Graph("pair", {"z": (0, 2), "x": (0, 0)}, [("z", "x", 1.0)]))
    # A bend of 1 takes the middle of an arc of length 2 one unit to the left.
    assert axes.get_xlim()[0] < -1 - RADIUS
    assert axes.get_xlim()[1] > RADIUS
    assert axes.get_ylim()[0] < -RADIUS
    assert axes.get_ylim()[1] > 2 + RADIUS


def test_a_graph_names_its_nodes():
    with pytest.raises(ValueError, match=r"\['w'\] are no nodes. The nodes are \['z', 'x'\]"):
        Graph("pair", {"z": (0, 1), "x": (0, 0)}, [("z", "w")])
