"""From factors to pixels: rays march to the puppet, and light is gathered where they land."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from course_lib.data.portraits.cells import Cells
from course_lib.data.portraits.factors import PortraitFactors, factors
from course_lib.data.portraits.paint import Hit, backdrop, light_direction, surface_colour, to_film
from course_lib.data.portraits.shapes import distance, distances, to_head
from course_lib.rng import counter_normal

VERSION = 0  # raise it when a pixel changes: cached images carry it in their name
CAMERA_DISTANCE = 5.0
HALF_VIEW = 1.62  # half the width of what a camera with zoom 1 sees at the puppet
NEAR, FAR = 3.6, 6.6
Point = tuple[Tensor, Tensor, Tensor]
AT_ONCE = 8  # portraits marched together, alike ones: their points stay in the processor's cache


class Rays(NamedTuple):
    """Unit directions (B, P) from the camera, and the tangent of each cone's half angle."""

    x: Tensor
    y: Tensor
    z: Tensor
    spread: Tensor

    def at(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The points that rays of length t reach; the camera is at (0, 0, CAMERA_DISTANCE)."""
        return self.x * t, self.y * t, CAMERA_DISTANCE + self.z * t

    def of(self, cells: Cells, per_side: int) -> "Rays":
        """Only the rays of some cells of the picture."""
        side = cells.side * per_side
        grid = torch.stack(self[:3], 1).view(-1, 3, side, side)
        x, y, z = cells.take(grid, per_side).unbind(1)
        return Rays(x, y, z, self.spread)


def sample(
    index: Tensor, *, seed: int, colour: bool = False, size: int = 64
) -> tuple[Tensor, PortraitFactors]:
    """The portraits number `index` of the set named by `seed`, and their factors.

    See `factors` and `render`.
    """
    drawn = factors(index, seed=seed)
    return render(drawn, size=size, colour=colour), drawn


def render(factors: PortraitFactors, *, size: int = 64, colour: bool = False) -> Tensor:
    """Draw portraits: (B, 1 or 3, size, size) float32 in [0, 1].

    A picture depends on its own factors, not on the batch around it. Grey is the same person in
    the same light, photographed on a black-and-white film: not exactly the luma of the colours.

    Args:
        factors: B portraits.
        size: side of the picture in pixels; even.
        colour: three channels, R, G and B.

    Raises:
        ValueError: a size that is odd or below 16.
    """
    if size < 16 or size % 2:
        raise ValueError(f"portraits.render: expected an even size of at least 16, got {size}.")
    images = torch.zeros(len(factors), 3 if colour else 1, size, size)
    likeness = 4 * factors.hair + 2 * factors.glasses + factors.beard
    order = likeness.argsort(stable=True)
    for start in range(0, len(factors), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        images[rows] = _render_group(factors[rows], size, colour)
    return images


def _render_group(group: PortraitFactors, size: int, colour: bool) -> Tensor:
    f = group.columns()
    cells, t = _first_hits(f, size)
    rays = _rays(2 * size, f).of(cells, 4)
    point = rays.at(t)
    nearest, material = torch.stack(distances(*point, f)).min(0)
    normal = _normal(point, nearest, f)
    light = light_direction(f)
    shadow, occlusion = _shade(cells, point, normal, light, f)
    hit = Hit(to_head(*point, f), point[1], material, normal, shadow, occlusion)

    behind = backdrop(2 * size, f, colour)
    lands = ((nearest < 0.05) & (t < FAR))[:, None]
    image = torch.where(lands, surface_colour(hit, light, f, colour), cells.take(behind, 4))
    image = avg_pool2d(cells.put(image, 4, behind), 2)
    grain = counter_normal(group.seed, group.index, size * size, stream=1)
    return to_film(image, grain.view(-1, 1, size, size))


def _first_hits(f: PortraitFactors, size: int) -> tuple[Cells, Tensor]:
    """How far each of the 4 x 4 rays of each cell goes, for the cells that may see the puppet.

    First one thick ray a cell, a cone that stops where anything comes within its radius; then
    four thinner ones from there; then the rays themselves. So most steps are taken by few rays.
    """
    coarse = _rays(size // 2, f)
    t = _march(coarse, torch.full_like(coarse.x, NEAR), f, n_steps=20, cone=True)
    t = t.view(-1, 1, size // 2, size // 2)
    cells = Cells.where(t[:, 0] < FAR)
    t = cells.take(interpolate(t, size=size), 2)[:, 0]
    t = _march(_rays(size, f).of(cells, 2), t, f, n_steps=6, cone=True)
    empty = t.new_full((len(t), 1, size, size), FAR)
    t = interpolate(cells.put(t[:, None], 2, empty), size=2 * size)
    t = cells.take(t, 4)[:, 0]
    rays = _rays(2 * size, f).of(cells, 4)
    t = _march(rays, t, f, n_steps=4, cone=False)
    return cells, _finish(rays, t, f)


def _finish(rays: Rays, t: Tensor, f: PortraitFactors) -> Tensor:
    """March on with the few rays that still fly: those that graze the outline, or miss."""
    flying = (distance(*rays.at(t), f) > 0.004) & (t < FAR)
    most = max(1, int(flying.sum(1).max()))
    some = torch.argsort(~flying, dim=1, stable=True)[:, :most]
    x, y, z = (direction.gather(1, some) for direction in rays[:3])
    few = Rays(x, y, z, rays.spread)
    stopped = t.gather(1, some)
    landed = _march(few, stopped, f, n_steps=18, cone=False)
    # The list is as long as the longest of the batch: what fills it up must stay as it was.
    return t.scatter(1, some, torch.where(flying.gather(1, some), landed, stopped))


def _rays(n: int, f: PortraitFactors) -> Rays:
    """One ray through the middle of each of n x n squares of the picture."""
    middle = torch.linspace(-1 + 1 / n, 1 - 1 / n, n)
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    scale = HALF_VIEW / f.zoom / CAMERA_DISTANCE
    x, y = (x.reshape(1, -1) - f.shift_x) * scale, (y.reshape(1, -1) - f.shift_y) * scale - 0.004
    length = (x * x + y * y + 1).sqrt()
    half_diagonal = 2**0.5 / n * scale
    return Rays(x / length, y / length, -1 / length, half_diagonal)


def _march(rays: Rays, t: Tensor, f: PortraitFactors, *, n_steps: int, cone: bool) -> Tensor:
    """Sphere tracing: go as far as the nearest surface is away, again and again."""
    for _ in range(n_steps):
        step = 0.9 * distance(*rays.at(t), f) - cone * rays.spread * t
        t = t + step.clamp(min=0) if cone else t + step
    return t


def _normal(point: Point, d: Tensor, f: PortraitFactors) -> Point:
    """The gradient of the distance, by forward differences, scaled to length 1."""
    x, y, z = point
    step = 0.004
    dx = distance(x + step, y, z, f) - d
    dy = distance(x, y + step, z, f) - d
    dz = distance(x, y, z + step, f) - d
    length = (dx * dx + dy * dy + dz * dz + 1e-12).sqrt()
    return dx / length, dy / length, dz / length


def _shade(
    cells: Cells, point: Point, normal: Point, light: Point, f: PortraitFactors
) -> tuple[Tensor, Tensor]:
    """Soft shadow of the key light and ambient occlusion, at one ray of each 2 x 2."""

    def coarse(a: Tensor) -> Tensor:
        return a.view(len(a), -1, 4, 4)[:, :, ::2, ::2].flatten(1)

    x, y, z = (coarse(p) for p in point)
    nx, ny, nz = (coarse(n) for n in normal)
    lx, ly, lz = light
    ox, oy, oz = x + 0.03 * nx, y + 0.03 * ny, z + 0.03 * nz
    shadow, s = torch.ones_like(x), torch.full_like(x, 0.05)
    for _ in range(10):
        free = distance(ox + lx * s, oy + ly * s, oz + lz * s, f)
        shadow = torch.minimum(shadow, (5 * free / s).clamp(0, 1))
        s = s + free.clamp(0.05, 0.3)
    occlusion = torch.ones_like(x)
    for reach in (0.07, 0.2):
        free = distance(x + nx * reach, y + ny * reach, z + nz * reach, f)
        occlusion = occlusion - 0.4 * (1 - free / reach).clamp(0, 1)

    # Spread over the picture, leaving out the background, and read again at every ray.
    lands = (z > CAMERA_DISTANCE - FAR).float()
    values = torch.stack([shadow * lands, occlusion * lands, lands], 1)
    side = cells.side * 2
    spread = cells.put(values, 2, torch.zeros(len(x), 3, side, side))
    spread = interpolate(spread, scale_factor=2, mode="bilinear", align_corners=False)
    shadow, occlusion, weight = cells.take(spread, 4).unbind(1)
    return shadow / weight.clamp(min=1e-3), occlusion / weight.clamp(min=1e-3)
