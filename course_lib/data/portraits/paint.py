"""What each point of the puppet looks like: pigments, light, and the film that records them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from course_lib.data.portraits.factors import PortraitFactors
from course_lib.data.portraits.shapes import (
    CLOTH,
    EYE,
    FRAME,
    HAIR,
    SKIN,
    HeadPoint,
    mouth_curve,
    smoothstep,
)

LUMA = torch.tensor([0.2125, 0.7154, 0.0721])


class Hit(NamedTuple):
    """Where the rays end, everything (B, P): place, material, normal and the light's way there."""

    head: HeadPoint
    height: Tensor  # y in the room's frame
    material: Tensor
    normal: tuple[Tensor, Tensor, Tensor]
    shadow: Tensor  # 0 in full shadow, 1 in the open
    occlusion: Tensor  # the open part of the sky


def light_direction(f: PortraitFactors) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vector to the key light."""
    flat = f.light_elevation.cos()
    return f.light_azimuth.sin() * flat, f.light_elevation.sin(), f.light_azimuth.cos() * flat


def backdrop(side: int, f: PortraitFactors, colour: bool) -> Tensor:
    """(B, C, side, side): a wall, brighter towards its own lamp and darker in the corners."""
    middle = torch.linspace(-1 + 1 / side, 1 - 1 / side, side)
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    wall = _tint(f.background, f.background_hue, 0.20, colour)[..., None]
    slope = 0.22 * f.light_azimuth.sin()[..., None, None] * x
    return wall * (1 - slope + 0.15 * y - 0.10 * (x * x + y * y))


def surface_colour(
    hit: Hit, light: tuple[Tensor, Tensor, Tensor], f: PortraitFactors, colour: bool
) -> Tensor:
    """Light that leaves the points towards the camera, (B, C, P), before the film."""
    nx, ny, nz = hit.normal
    lx, ly, lz = light
    facing = nx * lx + ny * ly + nz * lz
    on_skin = (hit.material == SKIN).float()
    # Light spreads under skin, so its terminator is soft.
    wrap = 0.12 + 0.18 * on_skin
    key = f.key * ((facing + wrap) / (1 + wrap)).clamp(0, 1) * (0.12 + 0.88 * hit.shadow)
    sky = f.ambient * hit.occlusion * (0.75 + 0.25 * ny)
    fill = 0.14 * hit.occlusion * (0.55 - 0.35 * nx * lx.sign() + 0.3 * nz).clamp(0, 1)
    rim = 0.16 * hit.occlusion * (1 - nz.clamp(0, 1)) ** 3
    warm = 1 + f.light_warmth[..., None] * _tone([0.10, 0.0, -0.14], colour)
    lit = warm * (key * (0.4 + 0.6 * hit.occlusion))[:, None] + (sky + fill + rim)[:, None]
    return _pigment(hit, f, colour) * lit + (_gloss(hit, light) * hit.shadow * f.key)[:, None]


def _gloss(hit: Hit, light: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mirror-like part, by Blinn's half vector between the light and the viewer."""
    nx, ny, nz = hit.normal
    lx, ly, lz = light
    half = (nx * lx + ny * ly + nz * (lz + 1)) / (lx * lx + ly * ly + (lz + 1) ** 2).sqrt()
    half = half.clamp(min=0)
    strength = torch.tensor([0.10, 0.8, 0.10, 0.0, 0.5])[hit.material]
    sharpness = torch.tensor([16.0, 90.0, 12.0, 1.0, 60.0])[hit.material]
    return strength * half**sharpness


def _pigment(hit: Hit, f: PortraitFactors, colour: bool) -> Tensor:
    """The part of the light that each point reflects, (B, C, P)."""
    hair = _hair_pigment(f, colour) * _strands(hit.head, f)[:, None]
    cloth = _tint(f.cloth, f.cloth_hue, 0.38, colour) * _stripes(hit.height, f)[:, None]
    frame = _tint(f.frame_tone, f.hair_phase, 0.4, colour)
    pigment = _face_paint(hit.head, hair, f, colour)
    layers = {EYE: _eye_paint(hit.head, f, colour), HAIR: hair, CLOTH: cloth, FRAME: frame}
    for material, layer in layers.items():
        pigment = torch.where((hit.material == material)[:, None], layer, pigment)
    return pigment


def _skin_pigment(f: PortraitFactors, colour: bool) -> Tensor:
    absorbed = torch.tensor([0.20, 0.42, 0.62]) + f.skin_melanin[..., None] * torch.tensor(
        [0.75, 0.95, 1.15]
    )
    redness = f.skin_redness[..., None] * torch.tensor([-0.04, 0.10, 0.08])
    return _channels((-absorbed - redness).exp(), colour)


def _hair_pigment(f: PortraitFactors, colour: bool) -> Tensor:
    absorbed = torch.tensor([0.30, 0.55, 1.05]) + f.hair_melanin[..., None] * torch.tensor(
        [0.80, 0.97, 1.08]
    )
    rgb = (-absorbed).exp() + 0.012
    grey = (rgb * LUMA).sum(-1, True)
    return _channels(grey + (rgb - grey) * f.hair_warmth[..., None], colour)


def _strands(p: HeadPoint, f: PortraitFactors) -> Tensor:
    """Brightness along the hair: bands that follow it from the crown."""
    angle = torch.atan2(p.x, p.y + 0.4)
    fine = torch.sin(f.hair_waves * 4 * angle + 5 * p.z + f.hair_phase + 2 * torch.sin(3 * angle))
    broad = torch.sin(f.hair_waves * 2.3 * angle - 3 * p.z + 2 * f.hair_phase)
    return 1 + 0.13 * fine + 0.10 * broad


def _stripes(height: Tensor, f: PortraitFactors) -> Tensor:
    return 1 - 0.55 * f.stripes.clamp(0, 1) * smoothstep(torch.sin(28 * height), -0.2, 0.2)


def _eye_paint(p: HeadPoint, f: PortraitFactors, colour: bool) -> Tensor:
    """White, iris and pupil, turned by the gaze; both eyes look the same way."""
    size = f.eye_size * 1.25 * (1 + f.eye_size_asymmetry * p.side)
    ex = (p.x - f.eye_spacing * p.x.sign()) / size - f.gaze_x
    ey = (p.y - f.eye_height) / size - f.gaze_y
    r = (ex * ex + ey * ey).sqrt()
    white = torch.full_like(r, 0.78)[:, None] * _warm_white(colour)
    ring = (0.6 + 0.8 * (r / 0.5) ** 2) * (1 - 0.6 * smoothstep(r, 0.43, 0.52))
    iris = _tint(f.iris, f.iris_hue, 0.5, colour) * ring[:, None]
    eye = iris + (white - iris) * smoothstep(r, 0.47, 0.54)[:, None]
    return eye * (0.04 + 0.96 * smoothstep(r, 0.17, 0.25))[:, None]


def _face_paint(p: HeadPoint, hair: Tensor, f: PortraitFactors, colour: bool) -> Tensor:
    """Skin with blushing cheeks and nose, lips, the slit or the opening of the mouth, brows."""
    ax, front = p.x.abs(), smoothstep(p.z, 0.2, 0.3)
    skin = _skin_pigment(f, colour)
    blush = torch.exp(-(((ax - 0.36) / 0.16) ** 2) - ((p.y + 0.18) / 0.13) ** 2)
    blush = blush + torch.exp(-((ax / 0.1) ** 2) - ((p.y - f.nose_height) / 0.1) ** 2)
    red = _tone([1.0, 0.72, 0.70], colour)
    skin = skin * (1 + (red - 1) * (0.55 * front * blush)[:, None])

    across = ax / f.mouth_width
    above = p.y - mouth_curve(ax, p.side, f)
    opening = f.mouth_opening.clamp(min=0)
    bow = 1.25 - 0.45 * across.clamp(max=1)
    inside = 1 - across**2 - (above / (f.lip_thickness * 1.7 * bow + opening)) ** 2
    lips = front * torch.sigmoid(6 * inside)
    face = skin * (1 + (_tone([0.80, 0.52, 0.50], colour) - 1) * lips[:, None])

    gap = 0.008 + opening * (1 - across**2).clamp(min=0)
    dark = front * torch.exp(-((above / gap) ** 4)) * torch.sigmoid((1.0 - across) * 25)
    teeth = smoothstep(opening, 0.015, 0.03) * smoothstep(above, -0.1, 0.018)
    mouth = 0.05 + (0.7 * teeth)[:, None] * _warm_white(colour)
    face = face + (mouth - face) * (0.85 * dark)[:, None]

    along = (ax - f.eye_spacing) / 0.155
    middle = f.eye_height + f.brow_height + f.brow_asymmetry * p.side
    middle = middle - f.brow_tilt * (ax - f.eye_spacing) - 0.028 * along**2
    thick = f.brow_thickness * (1.1 - 0.35 * along)
    brow = torch.sigmoid(5 * (1 - along**4 - ((p.y - middle) / thick) ** 2)) * front
    return face + (0.75 * hair - face) * (0.9 * brow)[:, None]


def to_film(image: Tensor, grain: Tensor) -> Tensor:
    """Tone curve, the softness of a lens and grain; a smooth knee keeps the result in [0, 1]."""
    image = (image.clamp(min=1e-3) ** (1 / 1.9) - 0.5) * 1.33 + 0.50
    blurred = avg_pool2d(pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = 0.7 * image + 0.3 * blurred + 0.006 * grain
    return 0.5 + 0.485 * torch.tanh((image - 0.5) / 0.485)


def _channels(rgb: Tensor, colour: bool) -> Tensor:
    """(B, 1, 3) to (B, 3, 1), or its luma (B, 1, 1)."""
    return rgb.transpose(1, 2) if colour else (rgb * LUMA).sum(-1, True)


def _tone(rgb: list[float], colour: bool) -> Tensor:
    return _channels(torch.tensor(rgb)[None, None], colour)


def _warm_white(colour: bool) -> Tensor:
    return _tone([1.02, 1.0, 0.95], colour)


def _tint(brightness: Tensor, hue: Tensor, saturation: float, colour: bool) -> Tensor:
    """A colour (B, C, 1) of the given luma and hue, from brightness and hue (B, 1)."""
    turns = torch.tensor([0.0, 2.0944, 4.1888])
    rgb = 1 + saturation * torch.cos(hue[..., None] - turns)
    return _channels(brightness[..., None] * rgb / (rgb * LUMA).sum(-1, True), colour)
