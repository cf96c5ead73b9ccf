"""What is proved about blur and potentials, the counter-example, the experiment at small scale."""

import math

import pytest
import torch

from course_lib.data import TEST_PHOTOS, load_crops
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.experiments import likelihood
from course_lib.experiments.likelihood import (
    CHAPTER,
    FAMILIES,
    THETAS,
    Condition,
    altered,
    blur_changes,
    blurred,
    dequantised,
    model_potential,
    penalties,
    summary,
)
from course_lib.fourier import filter_image, frequencies
from course_lib.functionals import InvariantSparsity, SmoothedTV
from course_lib.operators import Blur, mirror
from course_lib.project import CourseError
from course_lib.results import experiments
from course_lib.rng import generator_from, normal_like

IMG_SIZE = (1, 16, 16)
CONVEX = {
    "tv": SmoothedTV(1.0, 1e-3),
    "smoothed_tv": SmoothedTV(1.0, 0.1),
    "wavelets": InvariantSparsity(1.0, IMG_SIZE),
    "gaussian": power_law(IMG_SIZE).potential,
}


@pytest.fixture
def crops():
    return torch.nn.functional.avg_pool2d(load_crops(4).images, 4).double()


def random_kernel(seed):
    """Any kernel >= 0 of sum 1, 5 x 5, from flat to nearly one pixel."""
    g = generator_from(seed)
    weights = torch.randn(1, 1, 5, 5, generator=g, dtype=torch.float64) * (1 + seed % 7)
    return weights.flatten().softmax(0).view(1, 1, 5, 5)


@pytest.mark.parametrize("name", CONVEX)
def test_convex_invariant_potentials_fall_under_any_blur(name, crops):
    """Jensen: h * x is a mean of translates of x, all of the same potential."""
    q, before = CONVEX[name], CONVEX[name](crops)
    for seed in range(20):
        after = q(Blur(random_kernel(seed), IMG_SIZE).A(crops))
        assert (after <= before + 1e-10 * before.abs()).all()


@pytest.mark.parametrize("name", CONVEX)
def test_and_fall_all_along_a_semigroup(name, crops):
    """Heat flow, exp(-t L): its kernels are >= 0, and each one is an earlier one, blurred again."""
    rows, columns = frequencies(IMG_SIZE[1:])
    symbol = 4 * (torch.pi * rows).sin() ** 2 + 4 * (torch.pi * columns).sin() ** 2
    unit = torch.zeros(1, *IMG_SIZE, dtype=torch.float64)
    unit[..., 0, 0] = 1
    values = []
    for t in (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0):
        assert filter_image(unit, (-t * symbol).exp()).min() > -1e-16
        values.append(CONVEX[name](filter_image(crops, (-t * symbol).exp())))
    assert (torch.stack(values).diff(dim=0) <= 1e-10 * values[0].abs()).all()


def test_a_mixture_prefers_its_centres_to_their_blur(crops):
    """Not convex: near its centres it rises under blur, at a large noise level not always."""
    mixture = EmpiricalMixture(
        torch.nn.functional.avg_pool2d(load_crops(len(TEST_PHOTOS)).images, 4).double()
    )
    x = mixture.centres

    def change(sigma, x):
        return blur_changes(lambda u: mixture.potential(u, sigma), x, "gaussian", (0.0, 1.5))[-1]

    assert (change(0.02, x) > 0).all()
    assert (change(1.0, x) < 0).any()
    # Samples of the mixture carry noise, which blur removes: it pays again.
    noisy = x + 0.1 * normal_like(x, generator_from(1))
    assert change(0.1, noisy).mean() < change(0.1, x).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_begin_with_the_identity_and_widen(family, crops):
    torch.testing.assert_close(blurred(crops, family, 0.0), crops, rtol=0, atol=1e-14)
    unit = torch.zeros(1, *IMG_SIZE, dtype=torch.float64)
    unit[..., 8, 8] = 1
    axis = torch.arange(16, dtype=torch.float64) - 8
    spread = axis[:, None] ** 2 + axis**2
    moments = []
    for theta in THETAS:
        kernel = blurred(unit, family, theta)
        assert kernel.sum().item() == pytest.approx(1, abs=1e-12)
        assert kernel.min() > -1e-15  # two Fourier transforms of an impulse
        moments.append((kernel * spread).sum().item())
    assert moments == sorted(moments)
    assert len(set(moments)) == len(THETAS)


@pytest.mark.parametrize("family", FAMILIES)
def test_borders(family, crops):
    """A mirrored image stays one, so that its blur is that of the plane; a periodic one wraps."""
    whole = blurred(mirror(crops), family, 1.2, periodic=True)
    torch.testing.assert_close(whole, mirror(blurred(crops, family, 1.2)), rtol=0, atol=1e-12)
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    seam = blurred(ramp, family, 1.2, periodic=True)[..., 0]
    assert (seam > 0.1).all()
    assert (blurred(ramp, family, 1.2)[..., 0] < 0.1).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_penalties_fall_under_every_family(family, crops):
    """The theorem for the mirrored image: q(h * x) <= q(x), without an exception."""
    for penalty in penalties(crops).values():
        change = blur_changes(penalty, crops, family, THETAS)
        assert (change <= 1e-12).all()


@pytest.mark.parametrize("after", [0.0, 0.02])
def test_blur_in_the_gaussian_world_is_its_closed_form(after, crops):
    """q(h * x) - q(x) for the stationary Gaussian, without and with noise after the blur.

    The derivative of the denoiser is the same at h * x and x, so that the error of the probes
    cancels to the last digit, and the integral of the trace with it: what is left is the error of
    the image's path, less than 0.1 nats in 256 dimensions.
    """
    world = power_law(IMG_SIZE)
    x = dequantised(crops)
    q = model_potential(world, x, Condition(0.02, after=after))
    change = blur_changes(q, x, "motion", (0.0, 1.0, 2.0))
    noise = after * normal_like(x, generator_from(5))
    exact = [world.potential(blurred(x, "motion", t) + noise, 0.02) for t in (0.0, 1.0, 2.0)]
    exact = torch.stack(exact)
    torch.testing.assert_close(change, (exact - exact[0]) / 256, rtol=0, atol=4e-4)
    assert (change[1:] < 0).all()


def test_noise_after_the_blur_is_another_question(crops):
    """h * x + w is no blurred version of x + w: in a mixture near its centres the signs differ."""
    mixture = EmpiricalMixture(crops)
    x = crops + 0.02 * normal_like(crops, generator_from(3))
    noisy, blurry = mixture.potential(x, 0.02), mixture.potential(blurred(x, "gaussian", 1.5), 0.02)
    assert (blurred(x, "gaussian", 1.5) - blurred(crops, "gaussian", 1.5)).std() < 0.5 * 0.02
    after = blurred(crops, "gaussian", 1.5) + (x - crops)
    assert (blurry < mixture.potential(after, 0.02)).all()
    assert noisy.isfinite().all()


def test_bundled_photographs_are_few_and_different():
    """One crop from each: more than there are is refused, instead of cutting a second crop."""
    few = likelihood.held_out("photos", len(TEST_PHOTOS))
    assert few.shape == (len(TEST_PHOTOS), 1, 32, 32)
    with pytest.raises(CourseError, match="not independent"):
        likelihood.held_out("photos", len(TEST_PHOTOS) + 1)


def test_dequantised_images_stay_in_their_grey_levels(crops):
    x = dequantised(crops)
    assert (256 * x).floor().div(255).sub(crops).abs().max() <= 0.5 / 255 + 1e-9
    assert torch.equal(x, dequantised(crops))
    assert torch.equal(x[:2], dequantised(crops[:2]))  # the first images do not depend on n


def test_summary_counts_what_never_rises():
    change = torch.tensor([[0.0, 0.0, 0.0], [-0.1, -0.2, 0.1], [-0.3, -0.1, -0.4]]).double()
    found = {r.name: r.value for r in summary("x", change, (0.0, 1.0, 2.0), "three images")}
    assert found["falls_x"] == pytest.approx(1 / 3)
    assert found["change_x_2"] == pytest.approx(-0.8 / 3)
    assert found["rise_x"] == pytest.approx(0.1)
    assert found["falls_low_x"] < 1 / 3 < found["falls_high_x"]
    assert (found["below_1_x"], found["below_2_x"]) == (pytest.approx(2 / 3), 1)
    # 1.96 standard deviations of the mean of -0.3, -0.1, -0.4
    assert found["change_half_x_2"] == pytest.approx(1.96 * (0.07 / 3) ** 0.5 / 3**0.5)


def test_altered_images_keep_their_mean(crops):
    for name, images in altered(crops).items():
        assert images.shape == crops.shape
        if name != "negative":
            torch.testing.assert_close(images.mean((2, 3)), crops.mean((2, 3)), rtol=0, atol=0.02)


@pytest.fixture
def no_networks(monkeypatch):
    """The Gaussian world in place of networks, and photographs in place of all worlds."""
    crops = torch.nn.functional.avg_pool2d(load_crops(4).images, 2)
    monkeypatch.setattr(likelihood, "held_out", lambda world, n, budget: crops[:n])
    monkeypatch.setattr(likelihood, "network", lambda world: power_law((1, 32, 32)))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", experiments(CHAPTER), ids=lambda e: e.name)
def test_experiments_run_at_smoke_scale(experiment, no_networks):
    results = experiment.run("smoke")
    assert len({r.name for r in results}) == len(results)
    assert all(math.isfinite(r.value) for r in results)


def test_the_wrong_sign_is_far_off():
    right, wrong, exact = (r.value for r in likelihood.sign_of_the_flow("full"))
    # The density at T = 80 is N(0, T^2) to S / T^2 in the largest of 256 modes, whose S is 1.2
    assert right == pytest.approx(exact, abs=1e-3)
    assert wrong > exact + 1000
