"""The 36 features: known laws, symmetries, and a plain implementation in numpy."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate
from scipy.special import gamma

from course_lib.metrics import brisque_features
from course_lib.metrics.scene_statistics import (
    fit_asymmetric_gaussian,
    fit_generalised_gaussian,
    half_size,
    normalise,
)

DRAWS = 200_000


def texture(generator, channels=1, size=(48, 64), batch=1):
    noise = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False)


def imresize(image):
    """MATLAB's imresize(image, 0.5) for a matrix, written after its own steps."""

    def cubic(x):
        x = np.abs(x)
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return near * (x <= 1) + far * ((x > 1) & (x <= 2))

    scale, width = 0.5, 4 / 0.5  # the kernel of width 4 is stretched against aliases
    for axis in (0, 1):
        image, side = np.moveaxis(image, axis, 0), image.shape[axis]
        x = np.arange(1, np.ceil(scale * side) + 1)
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = np.floor(u - width / 2)
        indices = left[:, None] + np.arange(np.ceil(width) + 2)
        weights = scale * cubic(scale * (u[:, None] - indices))
        weights /= weights.sum(1, keepdims=True)
        mirror = np.concatenate((np.arange(side), np.arange(side)[::-1]))
        places = mirror[(indices.astype(int) - 1) % (2 * side)]
        image = np.moveaxis(np.einsum("ij,ijk->ik", weights, image[places]), 0, axis)
    return image


def plain_features(image):
    """As published, on one grey image in [0, 255]: loops, a grid, and its nearest point."""
    t = np.arange(-3, 4)
    window = np.exp(-(t[:, None] ** 2 + t**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    grid = np.arange(0.2, 10.0005, 0.001)
    ratio = gamma(2 / grid) ** 2 / (gamma(1 / grid) * gamma(3 / grid))
    features = []
    for scale in range(2):
        if scale == 1:
            image = imresize(image)
        mean = correlate(image, window, mode="constant")
        deviation = np.sqrt(np.abs(correlate(image**2, window, mode="constant") - mean**2))
        field = (image - mean) / (deviation + 1)
        moment = np.mean(np.abs(field)) ** 2 / np.mean(field**2)
        features += [grid[np.argmin(np.abs(ratio - moment))], np.mean(field**2)]
        for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            pair = field * np.roll(field, shift, (0, 1))
            left, right = (
                np.sqrt(np.mean(pair[pair < 0] ** 2)),
                np.sqrt(np.mean(pair[pair > 0] ** 2)),
            )
            skew = left / right
            moment = np.mean(np.abs(pair)) ** 2 / np.mean(pair**2)
            moment *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
            shape = grid[np.argmin((ratio - moment) ** 2)]
            width_to_std = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
            mean_product = (right - left) * gamma(2 / shape) / gamma(1 / shape) * width_to_std
            features += [shape, mean_product, left**2, right**2]
    return np.array(features)


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_generalised_gaussian_of_known_laws(law, scale, generator):
    if law == "gaussian":
        x, shape, variance = torch.randn(3, DRAWS, generator=generator).double(), 2, 1
    else:
        signs = torch.randint(2, (3, DRAWS), generator=generator) * 2 - 1
        draw = torch.empty(3, DRAWS, dtype=torch.float64).exponential_(generator=generator)
        x, shape, variance = signs * draw, 1, 2
    fit = fit_generalised_gaussian(scale * x)
    assert fit.shape.tolist() == pytest.approx([shape] * 3, abs=0.02)
    assert fit.variance.tolist() == pytest.approx([variance * scale**2] * 3, rel=0.02)
    both = fit_asymmetric_gaussian(scale * x)
    assert both.shape.tolist() == pytest.approx([shape] * 3, abs=0.02)


def test_asymmetric_laplace(generator):
    """Widths 1 and 2: each side has its mean square, the mean is the sample mean."""
    draw = torch.empty(1, DRAWS, dtype=torch.float64).exponential_(generator=generator)
    right = torch.rand(1, DRAWS, generator=generator) < 2 / 3
    x = torch.where(right, 2 * draw, -draw)
    fit = fit_asymmetric_gaussian(x)
    assert fit.shape.item() == pytest.approx(1, abs=0.02)
    assert fit.left_variance.item() == pytest.approx(2, rel=0.05)
    assert fit.right_variance.item() == pytest.approx(8, rel=0.03)
    assert fit.mean.item() == pytest.approx(x.mean().item(), abs=0.02)


def test_symmetric_products_have_no_mean(generator):
    x = torch.randn(1, 1000, generator=generator, dtype=torch.float64)
    fit = fit_asymmetric_gaussian(torch.cat([x, -x], dim=1))
    assert fit.mean.item() == pytest.approx(0, abs=1e-14)
    assert fit.left_variance.item() == pytest.approx(fit.right_variance.item(), rel=1e-14)


@pytest.mark.parametrize("size", [(48, 64), (47, 64), (48, 51), (15, 14)])
def test_half_size_is_that_of_the_published_code(size, generator):
    u = 255 * torch.rand(2, 1, *size, generator=generator, dtype=torch.float64)
    found = half_size(u)
    assert found.shape == (2, 1, (size[0] + 1) // 2, (size[1] + 1) // 2)
    for small, image in zip(found, u, strict=True):
        assert small[0].numpy() == pytest.approx(imresize(image[0].numpy()), abs=1e-12 * 255)


def test_pillow_halves_alike_away_from_the_border(generator):
    u = torch.rand(1, 1, 48, 64, generator=generator, dtype=torch.float64)
    small = Image.fromarray(u[0, 0].numpy().astype(np.float32)).resize((32, 24), Image.BICUBIC)
    gap = half_size(u)[0, 0].numpy() - np.asarray(small)
    assert np.abs(gap[2:-2, 2:-2]).max() <= 1e-6  # it works in single precision


@pytest.mark.parametrize("size", [(48, 64), (47, 51)])
def test_features_equal_a_plain_implementation(size, generator):
    images = texture(generator, size=size, batch=2)
    found = brisque_features(images)
    assert found.shape == (2, 36)
    for i in range(2):
        expected = plain_features(255 * images[i, 0].numpy())
        # Shapes come from a grid of step 0.001.
        assert found[i].tolist() == pytest.approx(expected.tolist(), abs=1.5e-3)


def test_colour_is_judged_by_its_luminance(generator):
    colour = texture(generator, channels=3)
    weights = torch.tensor([0.2989, 0.5870, 0.1140], dtype=torch.float64).view(3, 1, 1)
    grey = (weights * colour).sum(1, keepdim=True) / weights.sum()
    assert torch.allclose(brisque_features(colour), brisque_features(grey), rtol=1e-9)
    assert torch.allclose(
        brisque_features(grey.repeat(1, 3, 1, 1)), brisque_features(grey), rtol=1e-9
    )


def test_symmetries(generator):
    """A mirror exchanges the diagonals, a transposition the axes; the rest stays."""
    image = texture(generator)
    straight = brisque_features(image).view(2, 18)
    law, pairs = straight[:, :2], straight[:, 2:].reshape(2, 4, 4)
    for changed, order in ((image.flip(-1), [0, 1, 3, 2]), (image.mT, [1, 0, 2, 3])):
        other = brisque_features(changed).view(2, 18)
        assert torch.allclose(other[:, :2], law, rtol=0, atol=1e-10)
        assert torch.allclose(other[:, 2:].reshape(2, 4, 4), pairs[:, order], rtol=0, atol=1e-10)


def test_normalisation(generator):
    """Brightness leaves the field alone; contrast enters only against the 1."""
    u = 255 * texture(generator)
    field, contrast = normalise(u, "replicate")
    brighter = normalise(u + 20, "replicate")
    assert torch.allclose(brighter.field, field, rtol=0, atol=1e-9)
    stronger = normalise(1e6 * u, "replicate").field
    assert torch.allclose(stronger, field * (contrast + 1) / contrast, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images_have_finite_features(dtype):
    features = brisque_features(torch.full((1, 1, 32, 32), 0.5, dtype=dtype))
    assert features.dtype == dtype
    assert features.isfinite().all()


def test_a_picture_of_8_bits_has_the_same_features_in_both_precisions(generator):
    """Its flat areas, too, where the features count the signs of rounding errors."""
    image = (255 * texture(generator)).round()
    image[..., :20, :20] = 201
    double, single = (brisque_features((image / 255).to(t)) for t in (torch.float64, torch.float32))
    assert torch.equal(single, double.float())
