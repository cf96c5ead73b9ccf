"""Damage: exact where a reference exists, exact outside the mask, statistics elsewhere."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from course_lib.data import degradations as d
from course_lib.data import load_crops, load_photo

EPS = 2.0**-23  # float32


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def crops():
    return load_crops(24, 64).images


def pillow_jpeg(x, quality):
    pixels = (255 * x).round().byte().movedim(0, -1).numpy()
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "JPEG", quality=quality, subsampling=0)
    decoded = np.asarray(Image.open(file)).reshape(pixels.shape)
    return torch.from_numpy(decoded.copy()).movedim(-1, 0).float()


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (67, 50)])
def test_jpeg_is_that_of_pillow(colour, size):
    """The same integers as libjpeg's; one level is granted to another build of it."""
    names = ("camera", "astronaut", "gravel", "coffee", "immunohistochemistry")
    x = torch.cat([load_photo(name, size, colour=colour) for name in names])
    # Saturated edges, where rounding and clipping matter most.
    x = torch.cat([x, (x[:1] > 0.5).float()])
    x = (255 * x).round() / 255  # so that both sides agree on the 8 bits that go in
    for quality in (1, 10, 40, 49, 50, 75, 95, 100):
        expected = torch.stack([pillow_jpeg(picture, quality) for picture in x])
        assert (255 * d.jpeg(x, quality) - expected).abs().max() <= 1 + 1e-3
    qualities = torch.tensor([5, 30, 50, 60, 90, 100])
    mixed = 255 * d.jpeg(x, qualities)
    for picture, quality, result in zip(x, qualities.tolist(), mixed, strict=True):
        assert (result - pillow_jpeg(picture, quality)).abs().max() <= 1 + 1e-3


def test_jpeg_of_a_constant_block():
    """Only the mean is left to round, to steps of q / 8: quality 100 keeps every grey level."""
    levels = torch.arange(256).float()[:, None, None, None].expand(-1, 1, 16, 16) / 255
    assert torch.allclose(d.jpeg(levels, 100), levels, rtol=0, atol=EPS)
    assert ((d.jpeg(levels, 50) - levels).abs() <= 1.5 / 255).all()  # q = 16: 1 level, and 1/2


@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (2, 3, 33, 20)])
def test_resolution_loss_is_interpolate_picture_by_picture(shape, generator):
    x = torch.rand(shape, generator=generator)
    for fraction in (0.5, 0.61, 0.97, 1.0):
        for nearest in (False, True):
            expected = []
            for picture in x.split(1):
                sides = [round(fraction * side) for side in shape[-2:]]
                small = interpolate(picture, sides, mode="bicubic", antialias=True)
                mode = "nearest-exact" if nearest else "bilinear"
                expected.append(interpolate(small, shape[-2:], mode=mode).clamp(0, 1))
            result = d.resolution_loss(x, fraction, nearest)
            # Sums of a hundred products of numbers below 2.
            assert torch.allclose(result, torch.cat(expected), rtol=0, atol=100 * EPS)


def test_resolution_loss_mixes_parameters_in_a_batch(crops):
    fraction = torch.linspace(0.5, 1, 24)
    nearest = torch.arange(24) % 2 == 0
    together = d.resolution_loss(crops, fraction, nearest)
    for i in (0, 7, 23):
        alone = d.resolution_loss(crops[i : i + 1], fraction[i].item(), bool(nearest[i]))
        assert torch.allclose(together[i : i + 1], alone, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("noise", [d.gaussian_noise, d.speckle])
def test_noise_has_the_std_asked_for(noise, generator):
    grey = torch.full((3, 1, 200, 200), 0.5)
    sigma = torch.tensor([0.01, 0.05, 0.1])  # 1/2 is at least five sigma from clipping
    error = noise(grey, sigma, generator=generator) - grey
    expected = sigma * (0.5 if noise is d.speckle else 1)
    n = 200**2
    assert (error.mean((1, 2, 3)).abs() < 5 * expected / n**0.5).all()
    # The std of a sample std is sigma / sqrt(2n).
    assert ((error.std((1, 2, 3)) - expected).abs() < 5 * expected / (2 * n) ** 0.5).all()


def test_speckle_spares_black(generator):
    black = torch.zeros(1, 1, 16, 16)
    assert torch.equal(d.speckle(black, 0.5, generator=generator), black)


def test_salt_and_pepper_counts(generator):
    grey = torch.full((2, 3, 300, 300), 0.5)
    amount, salt = torch.tensor([0.01, 0.2]), torch.tensor([0.3, 0.8])
    result = d.salt_and_pepper(grey, amount, salt, generator=generator)
    assert torch.equal(result[:, 0], result[:, 2])  # lost in all channels
    n = 300**2
    for value, expected in ((1.0, amount * salt), (0.0, amount * (1 - salt))):
        found = (result[:, 0] == value).float().mean((1, 2))
        assert ((found - expected).abs() < 5 * (expected / n).sqrt()).all()
    assert set(result.unique().tolist()) == {0.0, 0.5, 1.0}


def test_film_grain_is_poisson_in_size_and_smeared(generator):
    grey = torch.full((1, 1, 400, 400), 0.5)
    error = (d.film_grain(grey, 400, generator=generator) - grey)[0, 0]
    n = 400**2 / 6  # neighbours are alike: the kernel reaches over about 6 independent pixels
    assert error.mean().abs() < 5 * (0.5 / 400) ** 0.5 / n**0.5 * 3
    assert abs(error.var() / (0.5 / 400) - 1) < 5 * (2 / n) ** 0.5
    # The kernel (1/2, 1, 1/2) has the autocorrelation (3/2, 1, 1/4) along each side.
    neighbours = (error[:, 1:] * error[:, :-1]).mean() / error.var()
    assert abs(neighbours - 2 / 3) < 5 / n**0.5
    assert (error[:, 3:] * error[:, :-3]).mean().abs() / error.var() < 5 / n**0.5


def test_gaussian_blur_is_its_kernel():
    impulse = torch.zeros(3, 1, 17, 21)
    impulse[..., 8, 10] = 1
    std, size = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([7, 5, 3])
    result = d.gaussian_blur(impulse, std, size)
    for picture, s, k in zip(result[:, 0], std, size, strict=True):
        line = torch.exp(-0.5 * ((torch.arange(k) - k // 2) / s) ** 2)
        kernel = line[:, None] * line / line.sum() ** 2
        r = int(k) // 2
        found = picture[8 - r : 9 + r, 10 - r : 11 + r]
        assert torch.allclose(found, kernel, rtol=0, atol=10 * EPS)
        assert torch.count_nonzero(picture) == k**2


def test_motion_blur_is_a_segment():
    impulse = torch.zeros(2, 1, 33, 33)
    impulse[..., 16, 16] = 1
    across, down = d.motion_blur(impulse, 6.0, torch.tensor([0.0, torch.pi / 2]))[:, 0]
    # Length 6: five whole pixels and two halves.
    expected = torch.tensor([0.5, 1, 1, 1, 1, 1, 0.5]) / 6
    assert torch.allclose(across[16, 13:20], expected, rtol=0, atol=1e-5)
    # sin(pi) is 1e-7 in float32, and moves as much weight.
    assert torch.allclose(down, across.T, rtol=0, atol=1e-5)
    diagonal = d.motion_blur(impulse[:1], 8.0, torch.pi / 4)[0, 0]
    assert torch.allclose(diagonal, diagonal.T, rtol=0, atol=1e-5)
    assert diagonal.diagonal().sum() > 0.5  # positive angles turn downwards
    assert diagonal.flip(0).diagonal().sum() < 0.2


@pytest.mark.parametrize(
    "blur",
    [
        lambda x: d.gaussian_blur(x, torch.tensor([0.5, 4.0]), torch.tensor([3, 7])),
        lambda x: d.motion_blur(x, torch.tensor([3.0, 9.5]), torch.tensor([0.3, 2.0])),
        lambda x: d.resolution_loss(x, torch.tensor([0.5, 0.77])),
    ],
    ids=["gaussian", "motion", "resolution"],
)
def test_blurs_keep_constants(blur):
    grey = torch.full((2, 3, 19, 34), 0.3)
    assert torch.allclose(blur(grey), grey, rtol=0, atol=10 * EPS)


STRENGTH_ZERO = {
    "gaussian_noise": lambda x, g: d.gaussian_noise(x, 0, generator=g),
    "speckle": lambda x, g: d.speckle(x, 0.0, generator=g),
    "salt_and_pepper": lambda x, g: d.salt_and_pepper(x, 0, generator=g),
    "gaussian_blur": lambda x, g: d.gaussian_blur(x, 0.0),
    "gaussian_blur of one pixel": lambda x, g: d.gaussian_blur(x, 3.0, 1),
    "motion_blur": lambda x, g: d.motion_blur(x, 0.0, 1.0),
    "resolution_loss": lambda x, g: d.resolution_loss(x, 1.0),
    "fading": lambda x, g: d.fading(x, 0),
    "vignette": lambda x, g: d.vignette(x, 0, generator=g),
    "banding": lambda x, g: d.banding(x, 0, generator=g),
    "halftone": lambda x, g: d.halftone(x, 0, 4),
    "unstructured": lambda x, g: d.unstructured(x, generator=g, chance=0.0),
    "structured": lambda x, g: d.structured(x, generator=g, chance=0.0).image,
}


@pytest.mark.parametrize("change", STRENGTH_ZERO.values(), ids=STRENGTH_ZERO)
@pytest.mark.parametrize("channels", [1, 3])
def test_strength_zero_is_the_identity(change, channels, generator):
    x = torch.rand(3, channels, 18, 25, generator=generator)
    assert torch.allclose(change(x, generator), x, rtol=0, atol=4 * EPS)


def test_fading_and_screens(crops):
    faded = d.fading(crops, 1.0)
    assert torch.allclose(faded, 0.35 + 0.55 * crops, rtol=0, atol=4 * EPS)
    white = torch.ones(1, 3, 16, 16)
    red, green, blue = d.fading(white, 1.0)[0, :, 0, 0]
    assert red > green > blue
    ramp = torch.linspace(0, 1, 5)[:, None, None, None].expand(-1, 1, 48, 48)
    means = d.halftone(ramp, 1.0, 4).mean((1, 2, 3))
    assert (means.diff() > 0.05).all()  # more light, smaller dots
    rows = d.banding(torch.full((1, 3, 32, 40), 0.5), 0.1, generator=seeded())
    assert torch.equal(rows, rows[:, :1, :, :1].expand_as(rows))
    dark = d.vignette(torch.ones(1, 1, 65, 65), 0.8, generator=seeded())
    assert dark[0, 0, 32, 32] > dark[0, 0, 0, 0]
    assert dark.min() >= 0.2 - EPS


STRUCTURED = {**d.KINDS, "curved_scratches": d.curved_scratches}


@pytest.mark.parametrize("shape", [(6, 1, 64, 64), (3, 3, 47, 91), (2, 1, 16, 16), (1, 3, 200, 96)])
@pytest.mark.parametrize("kind", STRUCTURED.values(), ids=STRUCTURED)
def test_the_mask_covers_every_changed_pixel(kind, shape):
    x = torch.rand(shape, generator=seeded(1))
    image, mask = kind(x, generator=seeded(2))
    assert image.shape == shape
    assert mask.shape == (shape[0], 1, *shape[2:])
    assert ((mask == 0) | (mask == 1)).all()
    assert torch.equal(torch.where(mask == 0, image, 0), torch.where(mask == 0, x, 0))
    # Random pictures equal no paint: every masked pixel was changed.
    assert ((image != x).any(1, keepdim=True) == (mask == 1)).all()
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize("kind", d.KINDS)
def test_each_kind_damages_a_part(kind, crops):
    image, mask = d.structured(crops, generator=seeded(), kinds=(kind,), chance=1.0)
    share = mask.mean((1, 2, 3))
    assert 0.003 < share.mean() < 0.3
    assert (share > 0).float().mean() > 0.8  # a tear or stain may just miss the picture
    assert share.std() > 0  # each picture its own
    assert (image - crops).abs().max() > 0.2


def test_holes_have_the_tone_asked_for(crops):
    for fill in (0.0, 0.5, 1.0):
        image, mask = d.missing_corners(crops, generator=seeded(), fill=fill)
        inside = (image == fill).float().sum() / mask.sum()
        assert inside > 0.7  # all but soft edges


@pytest.mark.parametrize("kind", [*STRUCTURED.values(), d.structured], ids=[*STRUCTURED, "all"])
def test_damage_is_affine_in_the_tone_of_paper(kind, crops):
    """Paint of the tone t by the opacity o is (1 - o) x + o t, layer upon layer, for the same o."""
    black, grey, white = (kind(crops, generator=seeded(), fill=t).image for t in (0.0, 0.5, 1.0))
    assert torch.allclose(grey, (black + white) / 2, rtol=0, atol=16 * EPS)
    assert (white - black).max() > 0.3  # stains cover the least


def test_structured_chance_and_union(crops):
    x = crops.repeat(20, 1, 1, 1)
    n = len(x)
    mask = d.structured(x, generator=seeded(), kinds=("dust",), chance=0.3).mask
    hit = mask.flatten(1).amax(1).mean()
    assert abs(hit - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
    image, mask = d.structured(crops, generator=seeded(), chance=1.0)
    assert torch.equal(torch.where(mask == 0, image, 0), torch.where(mask == 0, crops, 0))
    one = d.structured(crops, generator=seeded(), kinds=("dust",), chance=1.0).mask
    assert mask.mean() > one.mean()


@pytest.mark.parametrize("preset", d.PRESETS)
@pytest.mark.parametrize("shape", [(5, 1, 64, 64), (2, 3, 41, 70), (1, 1, 16, 16)])
def test_presets_are_reproducible_and_keep_the_range(preset, shape):
    x = torch.rand(shape, generator=seeded(1)).round(decimals=1)  # some pixels are 0 or 1
    kept = x.clone()
    image, mask = d.PRESETS[preset](x, generator=seeded(3))
    assert torch.equal(x, kept)  # the clean picture is not written over
    assert image.shape == shape
    assert image.dtype == torch.float32
    assert mask.shape == (shape[0], 1, *shape[2:])
    assert image.min() >= 0
    assert image.max() <= 1
    again = d.PRESETS[preset](x, generator=seeded(3))
    assert torch.equal(again.image, image)
    assert torch.equal(again.mask, mask)
    assert not torch.equal(d.PRESETS[preset](x, generator=seeded(4)).image, image)


def test_old_photo_is_its_two_halves(crops):
    image, mask = d.old_photo(crops, generator=seeded(8), structured=False)
    assert torch.equal(image, d.unstructured(crops, generator=seeded(8)))
    assert mask.sum() == 0
    image, mask = d.old_photo(crops, generator=seeded(8), unstructured=False)
    expected = d.structured(crops, generator=seeded(8))
    assert torch.equal(image, expected.image)
    assert torch.equal(mask, expected.mask)


def test_each_picture_has_its_own_damage():
    """Copies of one picture: with chance 0.7 for each of four operations 0.8% stay as they are.

    2% get JPEG alone, of 61 qualities, and 2% a loss of resolution alone: a few may be equal.
    """
    x = load_photo("camera", 64).repeat(400, 1, 1, 1)
    result = d.unstructured(x, generator=seeded())
    same = (result == x).flatten(1).all(1).float().mean()
    chance = 0.3**4
    assert abs(same - chance) < 5 * (chance / 400) ** 0.5
    changed = result[(result != x).flatten(1).any(1)]
    assert len(changed.flatten(1).unique(dim=0)) > 0.98 * len(changed)


def test_double_precision():
    x = torch.rand(2, 3, 32, 32, generator=seeded(), dtype=torch.float64)
    for preset in d.PRESETS.values():
        assert preset(x, generator=seeded(1)).image.dtype == torch.float64


def test_bad_input(crops):
    g = seeded()
    for wrong in (torch.rand(64, 64), torch.rand(1, 1, 8, 64), torch.ones(1, 1, 64, 64).byte()):
        with pytest.raises(ValueError, match="expected floating-point pictures"):
            d.old_photo(wrong, generator=g)
        with pytest.raises(ValueError, match="expected floating-point pictures"):
            d.jpeg(wrong, 50)
    with pytest.raises(ValueError, match=r"one value or one per picture, \(24,\)"):
        d.gaussian_noise(crops, torch.ones(3), generator=g)
    with pytest.raises(ValueError, match="each at least 0"):
        d.gaussian_noise(crops, -0.1, generator=g)
    with pytest.raises(ValueError, match="each at least 0"):
        d.speckle(crops, float("nan"), generator=g)
    for quality in (0, 101):
        with pytest.raises(ValueError, match="quality"):
            d.jpeg(crops, quality)
    with pytest.raises(ValueError, match="got 2 channels"):
        d.jpeg(torch.rand(1, 2, 16, 16), 50)
    with pytest.raises(ValueError, match="sizes must be odd"):
        d.gaussian_blur(crops, 1.0, 4)
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match="at least one pixel and be at most 1"):
            d.resolution_loss(crops, fraction)
    with pytest.raises(ValueError, match=r"unknown kinds \['fire'\]\. There are: stains"):
        d.structured(crops, generator=g, kinds=("dust", "fire"))


@pytest.mark.parametrize("damage", [*d.PRESETS.values(), *d.KINDS.values(), d.unstructured])
def test_a_missing_generator_is_refused(crops, damage):
    with pytest.raises(TypeError):
        damage(crops, generator=None)


@pytest.mark.slow
def test_vignette_darkens_corners_and_clouds(generator):
    """1 - strength (0.7 (y^2 + x^2) / 2 + 0.3 sigmoid of a symmetric field): 0.15 and 0.85."""
    lost = 1 - d.vignette(torch.ones(200, 1, 17, 17), 1.0, generator=generator)
    # 200 numbers between 0 and 0.3: a standard error of 0.011 at most, five of them allowed
    assert lost[..., 8, 8].mean().item() == pytest.approx(0.15, abs=0.055)
    assert lost[..., 0, 0].mean().item() == pytest.approx(0.85, abs=0.055)
    half = 1 - d.vignette(torch.ones(2, 1, 17, 17), 0.5, generator=torch.Generator().manual_seed(1))
    whole = 1 - d.vignette(
        torch.ones(2, 1, 17, 17), 1.0, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(half, whole / 2)
