"""The puppet as a signed distance function: negative inside, positive outside, zero on the skin.

Source: the primitives and their smooth unions are those of Inigo Quilez,
https://iquilezles.org/articles/distfunctions/.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.data.portraits.factors import BALD, BUN, LONG, SIDE_PART, PortraitFactors

SKIN, EYE, HAIR, CLOTH, FRAME = range(5)
FAR_AWAY = 9.0  # the distance to a part that a puppet does not have
EYE_DEPTH = 0.53

Length = Tensor | float | int


class HeadPoint(NamedTuple):
    """A point in the head's own frame, and which side of the face it is on."""

    x: Tensor
    y: Tensor
    z: Tensor
    side: Tensor  # from -1 on the left of the picture to 1 on the right, smoothly


def sphere(x: Tensor, y: Tensor, z: Tensor, radius: Length) -> Tensor:
    """Exact distance to a sphere about the origin."""
    return (x * x + y * y + z * z).sqrt() - radius


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, rx: Length, ry: Length, rz: Length) -> Tensor:
    """First-order distance to an ellipsoid: exact on it, of the right sign everywhere."""
    x, y, z = x / rx, y / ry, z / rz
    level = (x * x + y * y + z * z + 1e-9).sqrt()
    slope = ((x / rx) ** 2 + (y / ry) ** 2 + (z / rz) ** 2 + 1e-9).sqrt()
    return level * (level - 1) / slope


def capsule(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    start: tuple[Length, Length, Length],
    end: tuple[Length, Length, Length],
    r_start: Length,
    r_end: Length,
) -> Tensor:
    """Distance to a segment with round ends, from start to end; exact if the radii are equal."""
    px, py, pz = x - start[0], y - start[1], z - start[2]
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    along = ((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)).clamp(0, 1)
    radius = r_start + (r_end - r_start) * along
    return sphere(px - dx * along, py - dy * along, pz - dz * along, radius)


def smooth_min(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The union of two shapes, its crease filled over a distance `width`."""
    gap = (width - (a - b).abs()).clamp(min=0)
    return torch.minimum(a, b) - gap * gap / (4 * width)


def smooth_max(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The intersection of two shapes, its edge rounded."""
    gap = (width - (a - b).abs()).clamp(min=0)
    return torch.maximum(a, b) + gap * gap / (4 * width)


def smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, and a cubic between."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return x * x * (3 - 2 * x)


def to_head(x: Tensor, y: Tensor, z: Tensor, f: PortraitFactors) -> HeadPoint:
    """Undo the pose: yaw about the vertical, then pitch, then roll."""
    x, z = f.yaw.cos() * x - f.yaw.sin() * z, f.yaw.sin() * x + f.yaw.cos() * z
    y, z = f.pitch.cos() * y - f.pitch.sin() * z, f.pitch.sin() * y + f.pitch.cos() * z
    x, y = f.roll.cos() * x + f.roll.sin() * y, f.roll.cos() * y - f.roll.sin() * x
    return HeadPoint(x, y, z, torch.tanh(12 * x))


def distance(x: Tensor, y: Tensor, z: Tensor, f: PortraitFactors) -> Tensor:
    """Signed distance of points (B, P) to the puppets with factors `f`, as columns (B, 1)."""
    parts = distances(x, y, z, f)
    nearest = parts[0]
    for part in parts[1:]:
        nearest = torch.minimum(nearest, part)
    return nearest


def distances(x: Tensor, y: Tensor, z: Tensor, f: PortraitFactors) -> list[Tensor]:
    """Signed distance to each material: skin, eyes, hair (with beard), cloth, spectacle frame.

    What nobody in the batch has is not computed.
    """
    neck = capsule(x, y, z, (0, -0.55, -0.14), (0, -1.3, -0.2), f.neck_width, f.neck_width * 1.12)
    p = to_head(x, y, z, f)
    skull, jaw, head = _head(p, f)
    skin = smooth_min(head, neck, 0.16)
    nothing = torch.full_like(skin, FAR_AWAY)
    hair = nothing if (f.hair == BALD).all() else _hair(p, skull, f)
    hair = torch.minimum(hair, _beard(p, jaw, f)) if f.beard.any() else hair
    frame = _glasses(p, f) if f.glasses.any() else nothing
    return [skin, _eyeballs(p, f), hair, _torso(x, y, z, f), frame]


def _head(p: HeadPoint, f: PortraitFactors) -> tuple[Tensor, Tensor, Tensor]:
    """The skull (hair grows on it), the jaw (a beard does) and the whole head with ears."""
    x, y, z, side = p
    ax = x.abs()
    cranium = ellipsoid(x, y - 0.22, z + 0.12, f.skull_width, 0.74 * f.skull_height, 0.82)
    face = ellipsoid(x, y + 0.12, z - 0.16, f.skull_width * 0.84, 0.62, 0.55)
    skull = smooth_min(cranium, face, 0.2)
    jaw = ellipsoid(x, y - f.jaw_height - 0.12, z - 0.2, f.jaw_width, f.jaw_length + 0.1, 0.42)
    chin = ellipsoid(x, y - f.jaw_height + 0.16, z - 0.46, f.chin, 0.11, 0.12)
    jaw = smooth_min(jaw, chin, 0.16)
    head = smooth_min(skull, jaw, 0.26)
    head = smooth_min(head, ellipsoid(ax - 0.33, y + 0.16, z - 0.44, f.cheek, 0.16, 0.15), 0.18)

    ridge_y = f.eye_height + 0.17
    ridge = capsule(ax, y, z, (0, ridge_y, 0.64), (0.42, ridge_y, 0.5), 0.05, 0.05)
    head = smooth_min(head, ridge, 0.14)
    ex, ey = ax - f.eye_spacing, y - f.eye_height
    head = smooth_max(head, -ellipsoid(ex, ey, z - 0.8, 0.16, 0.105, 0.17), 0.13)
    head = smooth_min(head, _lids(ex, ey, z - EYE_DEPTH, side, f), 0.03)

    tip = (0, f.nose_height, 0.73 + f.nose_length)
    nose = capsule(x, y, z, (0, f.eye_height + 0.06, 0.64), tip, 0.045, f.nose_width)
    wings = ellipsoid(
        ax - f.nose_width, y - f.nose_height, z - 0.74, f.nose_width * 0.7, f.nose_width * 0.6, 0.1
    )
    head = smooth_min(head, smooth_min(nose, wings, 0.08), 0.11)
    head = smooth_min(head, _lips(ax, y, z, side, f), 0.04)

    ear_x = ax - f.skull_width * 1.0
    ear = ellipsoid(ear_x, y, z + 0.08, 0.065, 0.18 * f.ear_size, 0.13 * f.ear_size)
    hollow = ellipsoid(ear_x - 0.065, y - 0.02, z + 0.03, 0.05, 0.11 * f.ear_size, 0.07)
    head = smooth_min(head, smooth_max(ear, -hollow, 0.05), 0.06)
    return skull, jaw, head


def _eye_size(side: Tensor, f: PortraitFactors) -> Tensor:
    return f.eye_size * 1.25 * (1 + f.eye_size_asymmetry * side)


def _eyeballs(p: HeadPoint, f: PortraitFactors) -> Tensor:
    ex, ey = p.x.abs() - f.eye_spacing, p.y - f.eye_height
    return sphere(ex, ey, p.z - EYE_DEPTH, _eye_size(p.side, f))


def _lids(ex: Tensor, ey: Tensor, ez: Tensor, side: Tensor, f: PortraitFactors) -> Tensor:
    """A thin sphere about the eyeball, opened by two planes through its centre."""
    shell = sphere(ex, ey, ez, _eye_size(side, f) + 0.017)
    upper = f.upper_lid + f.lid_asymmetry * side
    below_upper = upper.cos() * ey - upper.sin() * ez
    above_lower = -f.lower_lid.cos() * ey - f.lower_lid.sin() * ez
    return smooth_max(shell, -torch.maximum(below_upper, above_lower), 0.012)


def mouth_curve(ax: Tensor, side: Tensor, f: PortraitFactors) -> Tensor:
    """Height at which the lips meet; the corners rise with the smile."""
    smile = f.smile + f.smile_asymmetry * side
    return f.mouth_height + smile * ((ax / f.mouth_width) ** 2).clamp(max=1.5)


def _lips(ax: Tensor, y: Tensor, z: Tensor, side: Tensor, f: PortraitFactors) -> Tensor:
    smile = f.smile + f.smile_asymmetry * side
    opening, thick = f.mouth_opening.clamp(min=0), f.lip_thickness
    corner = (f.mouth_width, f.mouth_height + smile, 0.50)
    upper = (0, f.mouth_height + thick * 0.6 + opening, 0.62)
    lower = (0, f.mouth_height - thick * 0.8 - opening, 0.615)
    return torch.minimum(
        capsule(ax, y, z, upper, corner, thick * 1.1, thick * 0.5),
        capsule(ax, y, z, lower, corner, thick * 1.3, thick * 0.5),
    )


def _hair(p: HeadPoint, skull: Tensor, f: PortraitFactors) -> Tensor:
    """The skull, thickened behind the hairline: the hair thins out there instead of ending."""
    x, y, z, _ = p
    ax = x.abs()
    parted, is_long = f.hair == SIDE_PART, f.hair == LONG
    slant = torch.where(parted, 0.22 * f.part_side.sign(), 0.0)
    front = y - f.hairline + slant * x + 0.35 * ax * ax
    behind = 0.14 - z + 0.35 * y
    nape = y + 0.06 + 0.9 * (-0.03 - z).clamp(0, 0.38)
    nape = torch.where(is_long, y - f.hair_length, nape)
    region = smooth_max(front, torch.minimum(behind, nape), 0.12)

    wave = torch.sin(f.hair_waves * 1.3 * x + f.hair_phase + 4 * y)
    wave = wave + torch.sin(f.hair_waves * 1.5 * y + 2 * f.hair_phase + 3 * z)
    curls = torch.sin(17 * x + f.hair_phase) * torch.sin(17 * y) * torch.sin(17 * z)
    relief = 0.010 * wave + 0.035 * (f.curl - 0.5).clamp(min=0) * curls
    parting = torch.exp(-(((x - 0.28 * f.part_side.sign()) / 0.06) ** 2)) * (y > 0.3)
    thickness = f.hair_thickness * (0.75 + 0.4 * y) * (1 - torch.where(parted, 0.7, 0.0) * parting)
    sunk = 0.03 + 0.5 * (-0.05 - region).clamp(0, 0.5)  # below the floor of the eye sockets
    hair = skull + sunk - (thickness + 0.03 + relief) * smoothstep(region, -0.03, 0.26)

    if is_long.any():
        curtain = ellipsoid(x, y + 0.2, z + 0.26, f.skull_width * 1.12, 1.05, 0.56) - relief
        curtain = smooth_max(curtain, torch.maximum(f.hair_length - y, z - 0.1), 0.1)
        hair = torch.where(is_long, smooth_min(hair, curtain, 0.12), hair)
    if (f.hair == BUN).any():
        bun = sphere(x, y - 1.06, z + 0.34, 0.29) - relief
        hair = torch.where(f.hair == BUN, smooth_min(hair, bun, 0.06), hair)
    return torch.where(f.hair == BALD, FAR_AWAY, hair)


def _beard(p: HeadPoint, jaw: Tensor, f: PortraitFactors) -> Tensor:
    """The jaw, thickened below the mouth and along the cheeks."""
    x, y, z, _ = p
    ax = x.abs()
    edge = f.mouth_height - 0.1 + 0.9 * (ax - 0.16).clamp(min=0)
    region = torch.minimum(edge - y, z + 0.05)
    relief = 0.006 * torch.sin(30 * x + f.hair_phase) * torch.sin(12 * y)
    beard = jaw + 0.03 - (f.beard_thickness + 0.05 + relief) * smoothstep(region, -0.03, 0.14)
    return torch.where(f.beard > 0, beard, FAR_AWAY)


def _torso(x: Tensor, y: Tensor, z: Tensor, f: PortraitFactors) -> Tensor:
    ax = x.abs()
    shoulders = capsule(ax, y, z, (0, -1.42, -0.25), (f.shoulder_width, -1.72, -0.25), 0.36, 0.34)
    chest = ellipsoid(x, y + 2.1, z + 0.2, f.shoulder_width * 1.05, 0.9, 0.55)
    wide = f.neck_width * 1.1 + 0.035
    collar = capsule(x, y, z, (0, -1.6, -0.22), (0, -0.85, -0.165), wide, wide)
    collar = smooth_max(collar, y - f.collar, 0.04)
    return smooth_min(smooth_min(shoulders, chest, 0.2), collar, 0.08)


def _glasses(p: HeadPoint, f: PortraitFactors) -> Tensor:
    x, y, z, _ = p
    ax = x.abs()
    ring = sphere(ax - f.eye_spacing - 0.012, y - f.eye_height, torch.zeros_like(z), 0.19)
    rim = (ring * ring + (z - 0.82 + 0.25 * (ax - 0.1).clamp(min=0)) ** 2).sqrt() - 0.015
    hinge, end = f.eye_spacing + 0.2, f.skull_width
    arm_y = f.eye_height + 0.02
    arm = capsule(ax, y, z, (hinge, arm_y, 0.72), (end, arm_y, 0.0), 0.015, 0.015)
    bridge_end = f.eye_spacing - 0.17
    bridge = capsule(ax, y, z, (0, arm_y + 0.03, 0.84), (bridge_end, arm_y, 0.82), 0.015, 0.015)
    return torch.where(f.glasses > 0, torch.minimum(rim, torch.minimum(arm, bridge)), FAR_AWAY)
