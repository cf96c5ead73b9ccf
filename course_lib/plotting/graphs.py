"""Graphs of models: which variable is drawn given which others."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch

from course_lib.plotting.style import ACCENT, INK

RADIUS = 0.32
GAP = 0.12  # around the outermost nodes and arcs


@dataclass(frozen=True)
class Graph:
    """A directed graph whose arrows point from what is given to what is drawn.

    Args:
        title: what the graph stands for.
        nodes: {label: (x, y)}, places of the nodes, one unit apart or more; a label is a formula.
        arrows: pairs of labels, or triples with the bend of the arc (0: straight, > 0: to the
            right of its direction).
        seen: labels of measured variables, drawn filled.
        learned: arrows, as pairs, that belong to the approximate posterior, drawn in colour.
    """

    title: str
    nodes: dict[str, tuple[float, float]]
    arrows: Sequence[tuple[str, str] | tuple[str, str, float]]
    seen: Sequence[str] = ()
    learned: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        named = {label for arrow in self.arrows for label in arrow[:2]}
        named |= {*self.seen, *(label for pair in self.learned for label in pair)}
        if unknown := sorted(named - self.nodes.keys()):
            raise ValueError(
                f"Graph {self.title!r}: {unknown} are no nodes. The nodes are {list(self.nodes)}."
            )


def draw_graph(axes: Axes, graph: Graph) -> None:
    """Draw a graph into axes without a frame, at equal scales."""
    discs = {
        label: Circle(place, RADIUS, edgecolor=INK, fill=False, linewidth=1.3)
        for label, place in graph.nodes.items()
    }
    corners = list(graph.nodes.values())
    for start, end, *bend in graph.arrows:
        rad = bend[0] if bend else 0.0
        corners.append(_middle(graph.nodes[start], graph.nodes[end], rad))
        axes.add_patch(
            FancyArrowPatch(
                graph.nodes[start],
                graph.nodes[end],
                patchA=discs[start],
                patchB=discs[end],
                arrowstyle="-|>",
                mutation_scale=11,
                connectionstyle=f"arc3,rad={rad}",
                color=ACCENT if (start, end) in graph.learned else INK,
                linewidth=1.4,
            )
        )
    for label, place in graph.nodes.items():
        axes.add_patch(discs[label])
        if label in graph.seen:
            axes.add_patch(Circle(place, RADIUS, facecolor=INK, edgecolor="none", alpha=0.25))
        axes.text(*place, f"${label}$", ha="center", va="center", fontsize=12)
    across, up = zip(*corners, strict=True)
    margin = RADIUS + GAP
    axes.set_xlim(min(across) - margin, max(across) + margin)
    axes.set_ylim(min(up) - margin, max(up) + margin)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(graph.title)


def _middle(
    start: tuple[float, float], end: tuple[float, float], rad: float
) -> tuple[float, float]:
    """The middle of matplotlib's arc3, a quadratic curve."""
    (x0, y0), (x1, y1) = start, end
    return (x0 + x1 + rad * (y1 - y0)) / 2, (y0 + y1 - rad * (x1 - x0)) / 2
