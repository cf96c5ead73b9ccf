"""The world of plates: functions of (seed, index), one factor at a time."""

from dataclasses import fields, replace

import pytest
import torch

from course_lib.data import plates


@pytest.fixture(scope="module")
def batch():
    return plates.sample(torch.arange(24), seed=5)


def test_images_are_photographs(batch):
    images = batch.images
    assert images.shape == (24, 1, 64, 64)
    assert images.dtype == torch.float32
    # The tone curve is 1/2 + 0.485 tanh: it ends at 0.015 and 0.985.
    assert images.min() > 0.014
    assert images.max() < 0.986
    assert (images.flatten(1).std(1) > 0.02).all()  # none is blank
    assert len(images.flatten(1).mean(1).unique()) == 24  # no two alike


def test_an_image_does_not_depend_on_its_batch(batch):
    """Factors are equal bit by bit; images may be computed in another order: 8 float32 steps."""
    order = torch.tensor([17, 3, 3, 0])
    images, factors = plates.sample(order, seed=5)
    for field in fields(factors):
        expected = getattr(batch.factors, field.name)[order]
        assert torch.equal(getattr(factors, field.name), expected), field.name
    assert torch.allclose(images, batch.images[order], rtol=0, atol=1e-6)
    assert torch.equal(images[1], images[2])


def test_seed_and_index_name_the_image(batch):
    again = plates.sample(torch.arange(24), seed=5)
    assert torch.equal(again.images, batch.images)
    other = plates.sample(torch.arange(24), seed=6)
    assert (other.images - batch.images).abs().flatten(1).amax(1).min() > 0.05
    assert not torch.isin(other.factors.texture, batch.factors.texture).any()


def test_global_seed_is_not_touched():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    plates.sample(torch.arange(2), seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_characters_and_fonts_are_uniform_and_independent():
    n = 36_000
    factors = plates.factors(torch.arange(n), seed=1)
    for choice, names in (
        (factors.character, plates.CHARACTERS),
        (factors.font, plates.FONTS),
        (factors.character * len(plates.FONTS) + factors.font, range(36 * 8)),
    ):
        counts = torch.bincount(choice, minlength=len(names)).double()
        expected = n / len(names)
        chi2 = ((counts - expected) ** 2 / expected).sum()
        free = len(names) - 1
        assert chi2 < free + 5 * (2 * free) ** 0.5  # mean free, variance 2 free: five sigma
    light = factors.light_on_dark.double().mean() - plates.LIGHT_ON_DARK
    assert light.abs() < 5 * (0.25 * 0.75 / n) ** 0.5
    assert len(factors.texture.unique()) == n  # 48 bits: a collision has probability 2e-6


def test_continuous_factors_fill_their_ranges():
    n = 4000
    factors = plates.factors(torch.arange(n), seed=2)
    for name, (low, high) in plates.RANGES.items():
        values = getattr(factors, name).double()
        assert values.min() >= low - 1e-6, name  # float32 rounding
        assert values.max() <= high + 1e-6, name
        spread = (high - low) / 12**0.5
        assert (values.mean() - (low + high) / 2).abs() < 5 * spread / n**0.5, name
        assert abs(values.std() / spread - 1) < 0.05, name  # sampling error of a std is 0.7%


def test_another_character_changes_the_character_only(batch):
    """Far from both characters the pixels are the same: texture, light and pose do not move."""
    factors = replace(
        batch.factors,
        **dict.fromkeys(("shift_x", "tilt_x", "tilt_y", "rotation", "shear"), torch.zeros(24)),
        scale=torch.full((24,), 0.86),
        character=torch.full((24,), plates.CHARACTERS.index("I")),
        font=torch.full((24,), plates.FONTS.index("DejaVuSans")),
    )
    other = replace(factors, character=torch.full((24,), plates.CHARACTERS.index("1")))
    change = (plates.render(factors) - plates.render(other)).abs()
    assert (change.flatten(1).amax(1) > 0.05).all()
    # Both are narrow and in the middle. What remains is the tail of the lens blur: 5 pixels or
    # more, of std at most 1.05, leave 1e-6.
    margins = torch.cat([change[..., :8], change[..., -8:]], -1)
    assert margins.max() < 2e-6


def test_all_characters_differ_under_every_font(batch):
    """The enumeration that a posterior over characters needs: 36 renderings of one plate."""
    one = batch.factors[torch.zeros(36, dtype=torch.long)]
    every = torch.arange(36)
    for font in range(len(plates.FONTS)):
        fonts = torch.full((36,), font)
        images = plates.render(replace(one, character=every, font=fonts)).flatten(1)
        distance = torch.cdist(images, images) + 100 * torch.eye(36)
        assert distance.min() > 0.3, plates.FONTS[font]  # O and 0 are the nearest; noise has none
    assert len(one) == 36


def test_pose_moves_the_character():
    """A character shifted by 0.25 of half the image is 8 pixels further."""
    still = plates.factors(torch.arange(8), seed=3)
    zero = torch.zeros(8)
    still = replace(
        still,
        **dict.fromkeys(
            ("rotation", "shear", "shift_x", "shift_y", "tilt_x", "tilt_y", "relief"), zero
        ),
        **dict.fromkeys(("grain", "noise", "dirt_opacity", "glare", "light_falloff"), zero),
        shadow_depth=zero,
        paint_left=torch.full((8,), 9.0),
        rim=torch.full((8,), 3.0),
    )
    here = plates.render(still)
    there = plates.render(replace(still, shift_x=torch.full((8,), 0.25)))
    middle = slice(16, 48)  # rows without the end of the plate
    shifted = there[..., middle, 16:56]
    assert torch.allclose(shifted, here[..., middle, 8:48], rtol=0, atol=1e-4)


def test_gradients_reach_continuous_factors(batch):
    factors = batch.factors[:4]
    exposure = factors.exposure.clone().requires_grad_()
    plates.render(replace(factors, exposure=exposure)).sum().backward()
    assert (exposure.grad > 0).all()


@pytest.mark.parametrize("size", [16, 33, 128])
def test_other_sizes_show_the_same_plate(batch, size):
    factors = replace(batch.factors, grain=torch.zeros(24), noise=torch.zeros(24))
    small = plates.render(factors, size=size)
    assert small.shape == (24, 1, size, size)
    same = torch.nn.functional.interpolate(
        plates.render(factors), (size, size), mode="bilinear", antialias=True
    )
    # Edges of the paint are resolved differently, so agreement is on average.
    assert (small - same).abs().mean() < 0.04


@pytest.mark.parametrize("size", [32, 128])
def test_blur_and_relief_are_in_pixels_of_64(batch, size):
    """Where three of these pixels of blur leave nothing that a mean over 2 x 2 would change."""
    zero, wide = torch.zeros(24), torch.full((24,), 3.0)
    factors = replace(batch.factors, grain=zero, noise=zero, blur=wide)
    coarse, fine = (plates.render(factors, size=n) for n in sorted((size, 64)))
    shrunk = torch.nn.functional.avg_pool2d(fine, 2)
    # 0.002 and 0.0005 for the sampling of the glyphs; 0.006 or more in pixels of the image itself.
    assert (shrunk - coarse).abs().mean() < 0.003


def test_bad_input(batch):
    for index in (torch.tensor([-1]), torch.tensor([0.5]), torch.tensor(3), torch.tensor([True])):
        with pytest.raises(ValueError, match="expected index of shape"):
            plates.factors(index, seed=0)
    for size in (0, -4, 15):
        with pytest.raises(ValueError, match=f"at least 16 pixels, got {size}"):
            plates.render(batch.factors, size=size)
    for wrong in (-1, 36):
        factors = replace(batch.factors, character=torch.full((24,), wrong))
        with pytest.raises(ValueError, match=r"character must lie in 0\.\.35"):
            plates.render(factors)
