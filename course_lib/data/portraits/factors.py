"""What distinguishes one portrait from another: some 65 numbers, drawn from (seed, index)."""

from dataclasses import dataclass

from torch import Tensor

from course_lib.data.factors import Factors, check_index, in_ranges
from course_lib.rng import counter_uniform

HAIR_STYLES = ("bald", "short", "side part", "long", "bun")
BALD, SHORT, SIDE_PART, LONG, BUN = range(5)

# Lengths are in units in which a head is about 0.75 wide (half) and 1 high (half); angles in
# radians. In the head's frame x points to the right of the picture, y up, z to the viewer.
RANGES: dict[str, tuple[float, float]] = {
    # skull and jaw
    "skull_width": (0.64, 0.77),
    "skull_height": (0.92, 1.06),
    "jaw_width": (0.43, 0.58),
    "jaw_height": (-0.62, -0.50),
    "jaw_length": (0.34, 0.46),
    "chin": (0.11, 0.18),
    "cheek": (0.14, 0.25),
    "neck_width": (0.25, 0.37),
    "shoulder_width": (0.85, 1.2),
    "ear_size": (0.85, 1.25),
    # nose
    "nose_length": (0.05, 0.16),
    "nose_width": (0.062, 0.105),
    "nose_height": (-0.26, -0.16),
    # eyes and brows
    "eye_spacing": (0.235, 0.29),
    "eye_height": (0.03, 0.10),
    "eye_size": (0.102, 0.132),
    "upper_lid": (0.30, 0.62),
    "lower_lid": (0.38, 0.66),
    "gaze_x": (-0.28, 0.28),
    "gaze_y": (-0.12, 0.12),
    "iris": (0.04, 0.30),
    "iris_hue": (0.4, 4.0),
    "brow_height": (0.175, 0.225),
    "brow_tilt": (-0.12, 0.16),
    "brow_thickness": (0.022, 0.042),
    # mouth
    "mouth_width": (0.18, 0.28),
    "mouth_height": (-0.53, -0.46),
    "lip_thickness": (0.030, 0.052),
    "smile": (0.005, 0.12),
    "mouth_opening": (-0.035, 0.055),
    # the left half of a face is not the mirror image of the right half
    "eye_size_asymmetry": (-0.06, 0.06),
    "lid_asymmetry": (-0.09, 0.09),
    "brow_asymmetry": (-0.022, 0.022),
    "smile_asymmetry": (-0.025, 0.025),
    # hair
    "hairline": (0.40, 0.64),
    "hair_thickness": (0.05, 0.15),
    "hair_length": (-1.0, -0.25),
    "hair_waves": (4.0, 10.0),
    "hair_phase": (0.0, 6.2831853),
    "curl": (0.0, 1.0),
    "part_side": (-1.0, 1.0),
    "hair_melanin": (0.15, 3.0),
    "hair_warmth": (0.2, 1.0),
    "beard_thickness": (0.035, 0.085),
    # pose of the head and framing
    "yaw": (-0.62, 0.62),
    "pitch": (-0.16, 0.16),
    "roll": (-0.10, 0.10),
    "shift_x": (-0.10, 0.10),
    "shift_y": (-0.08, 0.08),
    "zoom": (1.20, 1.44),
    # light
    "light_azimuth": (-1.25, 1.25),
    "light_elevation": (0.05, 0.70),
    "key": (0.85, 1.35),
    "ambient": (0.12, 0.30),
    # tones and colours
    "skin_melanin": (0.05, 1.5),
    "skin_redness": (0.0, 1.0),
    "cloth": (0.05, 0.65),
    "cloth_hue": (0.0, 6.2831853),
    "stripes": (-1.2, 1.0),
    "collar": (-1.25, -0.92),
    "background": (0.04, 0.70),
    "background_hue": (0.0, 6.2831853),
    "frame_tone": (0.02, 0.25),
    "light_warmth": (-1.0, 1.0),
}
GLASSES_SHARE, BEARD_SHARE = 0.2, 0.22


@dataclass(frozen=True)
class PortraitFactors(Factors):
    """The factors of a batch of portraits; each tensor has shape (B,).

    `dataclasses.replace(factors, smile=...)` changes one of them and keeps the person;
    `factors[2:5]` takes some portraits. The ranges that `factors` draws from are in `RANGES`; the
    renderer accepts somewhat larger ones. Integers: `hair` (an index of `HAIR_STYLES`), `glasses`
    and `beard` (0 or 1).

    `yaw` > 0 turns the head to the right of the picture, `pitch` > 0 up, `roll` > 0
    anticlockwise; `light_azimuth` > 0 is light from the right, `light_elevation` > 0 from above.
    Where the two sides of a face differ, an `..._asymmetry` is added on the right and
    subtracted on the left. `seed` and `index` fix the film grain.
    """

    seed: int
    index: Tensor
    hair: Tensor
    glasses: Tensor
    beard: Tensor
    __annotations__ |= dict.fromkeys(RANGES, Tensor)  # and one field for each range

    def columns(self) -> "PortraitFactors":
        """The same numbers with shape (B, 1), to be broadcast against the points of an image."""
        return self.map(lambda values: values[:, None])


def factors(index: Tensor, *, seed: int) -> PortraitFactors:
    """The factors of the portraits number `index` of the set named by `seed`.

    Args:
        index: (B,) non-negative integers.
        seed: names the whole set.

    Raises:
        ValueError: the index is not a vector of non-negative integers.
    """
    check_index("portraits.factors", index)
    uniform = counter_uniform(seed, index, len(RANGES) + 3).unbind(1)
    hair_draw, glasses_draw, beard_draw, *rest = uniform
    return PortraitFactors(
        seed=seed,
        index=index,
        hair=(hair_draw * len(HAIR_STYLES)).long(),
        glasses=(glasses_draw < GLASSES_SHARE).long(),
        beard=(beard_draw < BEARD_SHARE).long(),
        **in_ranges(RANGES, rest),
    )
