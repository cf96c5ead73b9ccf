"""The book's own drawings of models, in inks that read on the light and on the dark page."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Ellipse

from course_lib.plotting.graphs import Graph, draw_graph
from course_lib.plotting.style import ACCENT, COLOURS, INK, STYLE, WIDTH, CourseFigure

ORANGE = COLOURS[1]
MEAN, SCALE = 0.7, 0.4  # of q(z), in the drawing of the family
SHIFT = np.array([0.35, 0.75])  # the vector nu
SPREAD = np.array([[0.2, 0.0], [0.1, 0.09]])  # a factor of the covariance of x given z


@matplotlib.rc_context(STYLE)
def draw_variational_family() -> CourseFigure:
    """The graph of p(z) p(x | z) p(y | x), and q(z) carried by G into the plane of two pixels.

    The decoder of the drawing is G(z) = (2 sin(z / 2), 2 cos(z / 2)).
    """
    figure = CourseFigure(figsize=(WIDTH, 3.1))
    model, latent, image = figure.subplots(1, 3, width_ratios=[0.7, 0.9, 1.6])
    graph = Graph(
        "model",
        {"z": (0, 2.6), "x": (0, 1.3), "y": (0, 0)},
        [("z", "x"), ("x", "y")],
        seen=["y"],
    )
    draw_graph(model, graph)
    for height, factor in ((2.6, "p(z)"), (1.95, r"p(x\mid z)"), (0.65, r"p(y\mid x)")):
        model.text(0.5, height, f"${factor}$", va="center")
    model.set_xlim(-0.6, 1.6)
    _draw_latent(latent)
    _draw_push_forward(image)
    figure.summary = "drawing: the model, its latent, and the distribution of images it defines"
    return figure


@matplotlib.rc_context(STYLE)
def draw_hierarchy() -> CourseFigure:
    """Graphs of a hierarchy of four groups: model, posterior of an image, and of a measurement."""
    groups = {f"z_{i}": (0.0, 3.9 - 1.3 * i) for i in range(4)}
    down = [(f"z_{i}", f"z_{i + 1}") for i in range(3)]
    skips = [("z_0", "z_2", 0.5), ("z_1", "z_3", 0.5), ("z_0", "z_3", 0.62)]
    read = [(f"z_{i}", "x", 0.0) for i in range(4)]
    by_image = [("x", f"z_{i}") for i in range(4)]
    by_measurement = [("y", f"z_{i}") for i in range(2)]
    graphs = [
        Graph("model", groups | {"x": (1.7, 1.95)}, [*down, *skips, *read]),
        Graph(
            "posterior of $x$",
            groups | {"x": (1.7, 1.95)},
            [*down, *skips, *by_image],
            seen=["x"],
            learned=[*by_image, *down, *[skip[:2] for skip in skips]],
        ),
        Graph(
            "draws given $y$, $k = 2$",
            groups | {"y": (-1.75, 3.25), "x": (1.7, 1.95)},
            [*down, *skips, *by_measurement, *read],
            seen=["y"],
            learned=[*by_measurement, down[0]],
        ),
    ]
    figure = CourseFigure(figsize=(WIDTH, 3.2))
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.18])
    for axes, graph in zip(panels, graphs, strict=True):
        draw_graph(axes, graph)
    figure.summary = "drawing: the graphs of a hierarchy of latents"
    return figure


def _draw_latent(axes: Axes) -> None:
    """Prior and approximate posterior of one latent."""
    z = np.linspace(-3, 3, 160)
    prior = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    posterior = _latent_density(z)
    axes.plot(z, prior, color=INK, linestyle="--", linewidth=1.2)
    axes.plot(z, posterior, color=ACCENT, linestyle="-")
    axes.fill_between(z, posterior, color=ACCENT, alpha=0.25, linewidth=0)
    axes.text(-1.35, 0.24, "$p(z)$", ha="right")
    axes.text(MEAN + 0.55, 0.75, "$q(z)$", color=ACCENT)
    axes.set(xlabel="latent $z$", yticks=[], xticks=[0, MEAN])
    axes.set_xticklabels(["$0$", "$m$"])
    axes.spines["left"].set_visible(False)
    axes.set_title("latent")


def _draw_push_forward(axes: Axes) -> None:
    """The range of G, q(z) carried there by G, and q(x | z) around the shifted range."""
    z = np.linspace(-2.7, 2.7, 160)
    curve = _decode(z)
    axes.plot(*curve.T, color=INK, linestyle="--", linewidth=1.2)
    ends = np.stack([curve[:-1], curve[1:]], 1)
    density = _latent_density(z)[:-1]
    colours = [to_rgba(ACCENT, share) for share in density / density.max()]
    axes.add_collection(LineCollection(list(ends), colors=colours, linewidths=7, capstyle="butt"))
    values, axis = np.linalg.eigh(SPREAD @ SPREAD.T)
    angle = np.degrees(np.arctan2(axis[1, 1], axis[0, 1]))
    for place in MEAN + SCALE * np.array([-1.5, 0, 1.5]):
        right, up = _decode(place) + SHIFT
        for radii in (1, 2):
            width, height = 2 * radii * np.sqrt(values[::-1])
            axes.add_patch(
                Ellipse((right, up), width, height, angle=angle, fill=False, color=ORANGE, lw=1.2)
            )
    (x0, y0), (x1, y1) = _decode(MEAN), _decode(MEAN) + SHIFT
    axes.annotate(
        "", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkB": 0}
    )
    axes.text((x0 + x1) / 2 + 0.16, (y0 + y1) / 2 - 0.08, r"$\nu$", va="center")
    axes.text(-1.53, 1.49, "$G(z)$", ha="right")
    axes.text(0.1, 1.3, "$q(z)$ carried by $G$", color=ACCENT, ha="center")
    axes.text(0.15, 2.75, r"$q(x\mid z)$", color=ORANGE, ha="right")
    axes.set(xlabel="first pixel", ylabel="second pixel", xticks=[], yticks=[])
    axes.set(xlim=(-2.4, 2.6), ylim=(0.3, 3.3))
    axes.set_aspect("equal")
    axes.set_title("images")


def _decode(z: float | np.ndarray) -> np.ndarray:
    return 2 * np.stack([np.sin(np.asarray(z) / 2), np.cos(np.asarray(z) / 2)], -1)


def _latent_density(z: np.ndarray) -> np.ndarray:
    return np.exp(-(((z - MEAN) / SCALE) ** 2) / 2) / (SCALE * np.sqrt(2 * np.pi))
