"""Where the network is linear the prior is Landweber's iteration; where not, what it promises."""

import math

import pytest
import torch
from helpers import assert_batch_independent
from jaxtyping import TypeCheckError
from torch import nn

from course_lib.data import load_crops, load_photos
from course_lib.inference.untrained import (
    TARGETS,
    DiscrepancyRule,
    NetworkDescent,
    VarianceRule,
    deep_image_prior,
    impedance,
)
from course_lib.inference.untrained.stopping_rules import MovingVariance
from course_lib.metrics import psnr
from course_lib.models.skip_network import SkipNetwork, repeated
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
    bicubic_kernel,
    gaussian_kernel,
)
from course_lib.rng import generator_from

RAW = {"noise_std": 0.0, "averaging": 0.0}  # the iterates themselves, all of them
SIGMA = 25 / 255


class Linear(nn.Module):
    """f(z) = B theta, from theta = 0, whatever z."""

    def __init__(self, basis, img_size):
        super().__init__()
        self.basis, self.img_size = basis, img_size
        self.theta = nn.Parameter(torch.zeros(1, basis.shape[1], dtype=basis.dtype))

    def forward(self, z):
        return (self.theta @ self.basis.T).view(-1, *self.img_size)


def linear_problem():
    """Seven parameters draw 12 pixels, of which two images are measured ten times each."""
    normal = {"generator": generator_from(0), "dtype": torch.float64}
    op = CompressedSensing(10, (1, 3, 4), generator_from(1), dtype=torch.float64)
    return op, torch.randn(12, 7, **normal), torch.randn(2, 10, **normal)


def matrix(op):
    pixels = torch.eye(math.prod(op.img_size), dtype=torch.float64)
    return op.A(pixels.view(-1, *op.img_size)).T


def fit_linear(op, basis, y, steps, **options):
    return deep_image_prior(
        op,
        y,
        network=Linear(basis, op.img_size),
        z=torch.zeros(1, 1),
        descent=NetworkDescent(steps, method="gd", **RAW, **options),
        stop=None,
        generator=generator_from(2),
    )


def small(seed=0, **options):
    options = {"inputs": 8, "channels": (8, 8, 8)} | options
    return SkipNetwork(generator=generator_from(seed), **options)


def fit(op, y, steps, *, network=None, stop=None, seed=3, **options):
    """A fit with a small network; options of the descent go there."""
    names = NetworkDescent.__dataclass_fields__
    descent = NetworkDescent(steps, **{k: v for k, v in options.items() if k in names})
    return deep_image_prior(
        op,
        y,
        network=small() if network is None else network,
        descent=descent,
        stop=stop,
        generator=generator_from(seed),
        **{k: v for k, v in options.items() if k not in names},
    )


@pytest.fixture(scope="module")
def photos():
    return load_photos(("camera", "chelsea", "coins"), 32).images


@pytest.fixture(scope="module")
def denoised():
    """A whole run on noisy parts of photographs, to the end though every image has stopped."""
    op = Denoising((1, 32, 32), GaussianNoise(SIGMA))
    truth = load_crops(8, 32).images[[0, 3, 5]]
    y = op(truth, generator=generator_from(4))
    return op, y, truth, fit(op, y, 350, stop=VarianceRule(keep_going=True), truth=truth)


@pytest.mark.parametrize("steps", [1, 7, 300])
def test_filter_factors_of_landweber(steps):
    """Singular component s of A B carries 1 - (1 - step_size s^2)^k of its least-squares value."""
    op, basis, y = linear_problem()
    u, s, vh = torch.linalg.svd(matrix(op) @ basis, full_matrices=False)
    step_size = 1.5 / s[0].item() ** 2
    filters = 1 - (1 - step_size * s**2) ** steps
    theta = (y @ u) * (filters / s) @ vh
    found = fit_linear(op, basis, y, steps, step_size=step_size)
    # Rounding of 300 steps in double precision, and of a singular value decomposition.
    torch.testing.assert_close(found.x_last.flatten(1), theta @ basis.T, rtol=0, atol=1e-10)
    residual = (op.A(found.x_last) - y).square().mean(1)
    torch.testing.assert_close(found.history["loss"][-1], residual, rtol=1e-12, atol=0)
    assert found.iterations == steps
    assert found.history["loss"].shape == (steps + 1, 2)


def test_every_column_is_that_of_the_iterates():
    """A descent of k steps is the start of a longer one, so the iterates are known."""
    op, basis, y = linear_problem()
    truth, window, a = torch.rand(2, 1, 3, 4, generator=generator_from(3)).double(), 3, 0.7
    step_size = 1.0 / torch.linalg.matrix_norm(matrix(op) @ basis, 2).item() ** 2
    iterates = [torch.zeros_like(truth)]
    iterates += [fit_linear(op, basis, y, k, step_size=step_size).x_last for k in range(1, 9)]
    found = deep_image_prior(
        op,
        y,
        network=Linear(basis, op.img_size),
        z=torch.zeros(1, 1),
        descent=NetworkDescent(8, step_size, "gd", noise_std=0.0, averaging=a),
        stop=VarianceRule(window, patience=100),
        truth=truth,
        generator=generator_from(2),
    )
    rows = {name: [] for name in ("loss", "restored", "variance", "psnr")}
    for k in range(9):
        x = torch.stack(iterates[: k + 1])
        share = a ** torch.arange(k, -1, -1, dtype=torch.float64)
        mean = torch.einsum("t,tbchw->bchw", share / share.sum(), x)
        kept = (1 - 1 / window) ** torch.arange(k, -1, -1, dtype=torch.float64)
        kept[1:] /= window
        centre, square = (torch.einsum("t,tbchw->bchw", kept, v) for v in (x, x.square()))
        variance = (square - centre.square()).mean((1, 2, 3))
        rows["loss"].append((op.A(x[-1]) - y).square().mean(1))
        rows["restored"].append(torch.zeros(2).double())
        rows["variance"].append(variance if k >= window else torch.full_like(variance, math.nan))
        rows["psnr"].append(-10 * (mean - truth).square().mean((1, 2, 3)).log10())
    assert found.history.keys() == rows.keys()
    for name, row in rows.items():
        expected = torch.stack(row)
        torch.testing.assert_close(
            found.history[name], expected, rtol=1e-10, atol=1e-13, equal_nan=True
        )


def test_errors_of_the_four_targets_are_in_their_order():
    """From theta = 0, one step of Adam of each number by the learning rate against its gradient."""
    images = torch.rand(2, 1, 3, 4, generator=generator_from(3), dtype=torch.float64)
    basis = torch.randn(12, 7, generator=generator_from(0), dtype=torch.float64)
    network = Linear(basis, (1, 3, 4))
    network.inputs = 1
    found = impedance(
        images, network=network, n_steps=1, step_size=0.02, generator=generator_from(5)
    )
    targets = found.targets.flatten(2)
    first = 0.02 * (targets @ basis).sign() @ basis.T
    expected = torch.stack([targets.square().mean(2), (first - targets).square().mean(2)])
    torch.testing.assert_close(found.loss, expected, rtol=1e-6, atol=0)  # Adam divides by g + 1e-8


def test_weights_go_back():
    """Too long a step multiplies the error by 1.5: every 50 steps the weights are put back."""
    op, basis, y = linear_problem()
    y[0] = 0  # theta = 0 is right already, whatever happens to the neighbour
    step_size = 2.5 / torch.linalg.matrix_norm(matrix(op) @ basis, 2).item() ** 2
    free = fit_linear(op, basis, y, 120, step_size=step_size, max_drop=math.inf)
    held = fit_linear(op, basis, y, 120, step_size=step_size)
    assert (free.history["restored"] == 0).all()
    assert (free.history["loss"][:51] == held.history["loss"][:51]).all()
    restored = held.history["restored"]
    assert restored[:, 1].nonzero().flatten().tolist() == [50, 100]
    assert (restored[:, 0] == 0).all()
    for k in (51, 101):
        torch.testing.assert_close(held.history["loss"][k], held.history["loss"][0])
    assert (held.x_last[0] == 0).all()


def test_a_drop_is_in_decibels_of_the_loss_since_the_last_copy():
    """A ratio r of mean squares is 10 log10 r dB; what has fallen is held to its old copy."""
    network = nn.Module()
    network.theta = nn.Parameter(torch.zeros(3, 2))
    weights = NetworkDescent(max_drop=6.0).start(network)

    def fallen(decibels, step):
        return weights.fallen(10 ** (torch.tensor(decibels) / 10), step).tolist()

    assert fallen([0.0, 0.0, 0.0], 0) == [False, False, False]
    assert fallen([99.0, 99.0, 99.0], 49) == [False, False, False]  # between two copies
    assert fallen([5.9, 6.1, -3.0], 50) == [False, True, False]
    assert fallen([11.8, 5.9, 3.1], 100) == [False, False, True]


def test_short_steps_go_down(photos):
    """The descent lemma needs a step below 2 / L; L is that of the loss near the start only."""
    op = Denoising((1, 32, 32))
    loss = fit(op, photos.double(), 20, method="gd", step_size=1e-4, **RAW).history["loss"]
    assert (loss.diff(dim=0) < 0).all()


def test_impedance(photos):
    """After 20 steps structure has been met; what is left grows with the share of noise.

    In the photographs of good contrast, that is: the shuffled pixels of the cat, whose standard
    deviation is 0.1, are as easy as the noise that is added to it.
    """
    found = impedance(photos[[0, 2]], network=small(), n_steps=20, generator=generator_from(5))
    assert found.targets.shape == (4, 2, 1, 32, 32)
    assert found.loss.shape == (21, 4, 2)
    assert len(TARGETS) == 4
    assert (found.loss[-1].diff(dim=0) > 0).all()
    image, noisy, shuffled, _ = found.targets.flatten(2)
    assert (shuffled.sort().values == image.sort().values).all()
    assert (shuffled != image).any()
    # Of 1024 draws: the standard deviation is known to 2 %.
    assert math.isclose((noisy - image).std().item(), SIGMA, rel_tol=0.06)


def test_quality_rises_and_falls(denoised):
    """The hump. Without the rule, one loses what its height is worth."""
    _, y, truth, found = denoised
    curve, top = found.history["psnr"], found.oracle.psnr
    assert (top > psnr(y, truth) + 6).all()
    assert (top > curve[20] + 2).all()
    assert (top > curve[-1] + 0.5).all()


def test_variance_rule_stops_near_the_best(denoised):
    """Within 2.5 dB, 1.5 in the mean.

    With three seeds it lost 0.0 to 1.8 dB of the best, and gained 0.9 to 3.5 on the end. Larger
    images have narrower laws: on eight of 64 x 64 pixels it lost 0.3 dB at most.
    """
    _, _, truth, found = denoised
    assert found.status == "converged"
    lost = found.oracle.psnr - psnr(found.x, truth)
    assert (lost < 2.5).all()
    assert lost.mean() < 1.5
    assert (psnr(found.x, truth) > found.history["psnr"][-1]).all()


def test_what_is_returned(denoised):
    _, _, truth, found = denoised
    curve, b = found.history["psnr"], torch.arange(3)
    assert curve.shape == (351, 3)
    torch.testing.assert_close(psnr(found.x, truth), curve[found.step, b])
    torch.testing.assert_close(psnr(found.x_last, truth), curve[-1])
    assert (found.oracle.psnr == curve.amax(0)).all()
    assert (found.oracle.step == curve.argmax(0)).all()
    torch.testing.assert_close(psnr(found.oracle.x, truth), found.oracle.psnr)
    # The step of the rule is the first minimum of the variance that stands for 50 steps.
    variance = found.history["variance"]
    assert variance[:33].isnan().all()
    for i, k in enumerate(found.step.tolist()):
        assert (variance[33:k, i] > variance[k, i]).all()
        assert (variance[k + 1 : k + 51, i] >= variance[k, i]).all()


def test_rule_is_blind(photos):
    """The same image, bit for bit, without the truth and without what comes after."""
    truth, patience = photos[:, :, :16, :16], 5
    op = Denoising((1, 16, 16), GaussianNoise(SIGMA))
    y = op(truth, generator=generator_from(4))

    def run(*, keep_going, **known):
        rule = VarianceRule(5, patience, keep_going)
        return fit(op, y, 100, network=small(channels=(8, 8)), stop=rule, **known)

    found, blind = run(keep_going=True, truth=truth), run(keep_going=False)
    assert found.iterations == 100
    assert (blind.x == found.x).all()
    assert (blind.step == found.step).all()
    assert blind.oracle is None
    assert "psnr" not in blind.history
    assert blind.iterations == blind.step.max() + patience < 100  # that of the last image
    assert (blind.history["loss"] == found.history["loss"][: blind.iterations + 1]).all()


def test_discrepancy_rule(photos):
    """The first residual of the size of the noise, which lives on the seen pixels only."""
    mask = torch.rand(1, 32, 32, generator=generator_from(6)) > 0.3
    op = Inpainting(mask, GaussianNoise(0.2))
    y = op(photos, generator=generator_from(7))
    found = fit(op, y, 100, stop=DiscrepancyRule(1.2))
    target = (1.2 * 0.2) ** 2 * mask.float().mean()
    assert found.status == "converged"
    loss = found.history["loss"]
    expected = (loss <= target).float().argmax(0)
    assert (found.step == expected).all()
    assert found.iterations == expected.max()
    unmet = fit(op, y, 10, stop=DiscrepancyRule(0.01))
    assert unmet.status == "max_iter"
    assert (unmet.step == unmet.history["loss"].argmin(0)).all()


@pytest.mark.slow
def test_fits_anything_in_the_end(photos):
    """Given enough steps the prior is no prior: 40 dB, for noise as well."""
    noise = torch.rand(1, 1, 12, 12, generator=generator_from(6))
    targets = torch.cat([photos[:1, :, 4:16, 4:16], noise])
    network = small(channels=(32, 32), inputs=16)
    found = fit(Denoising((1, 12, 12)), targets, 200, network=network, **RAW)
    assert (-10 * found.history["loss"].amin(0).log10() > 40).all()


def test_images_do_not_see_each_other(photos):
    """Alone or in a batch: sums in another order. Adam divides by the size of the gradient, so
    that rounding grows: to less than 1e-12 in these 15 steps of double precision."""
    op = Downsampling((1, 32, 32), 4, bicubic_kernel(4).double(), GaussianNoise(0.01))
    y = op(photos.double(), generator=generator_from(8))
    network = repeated(small(), 1).double()
    assert_batch_independent(lambda y: fit(op, y, 15, network=network).x, y, rtol=0, atol=1e-9)


def test_seeds(photos):
    op = Denoising((1, 32, 32))
    runs = [fit(op, photos, 5, seed=seed) for seed in (0, 0, 1)]
    assert (runs[0].x == runs[1].x).all()
    assert (runs[0].x != runs[2].x).any()
    default = [
        deep_image_prior(
            op,
            photos[:1],
            descent=NetworkDescent(1),
            stop=None,
            generator=generator_from(seed),
        ).x
        for seed in (0, 0, 1)
    ]
    assert (default[0] == default[1]).all()
    assert (default[0] != default[2]).any()


def operators():
    rgb = (3, 24, 28)
    mask = torch.rand(rgb, generator=generator_from(9)) > 0.5
    return {
        "half lost": Inpainting(mask, GaussianNoise(0.05)),
        "x4": Downsampling(rgb, 4, bicubic_kernel(4)),
        "blur": Blur(gaussian_kernel(1.5), rgb, GaussianNoise(0.01)),
        "sensing": CompressedSensing(200, rgb, generator_from(10)),
        "phase": PhaseRetrieval(200, rgb, generator_from(11)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", operators())
def test_any_operator(name):
    """Colour, not square, linear or not: the data are fitted better and better."""
    op = operators()[name]
    x = torch.rand(2, *op.img_size, generator=generator_from(12)) * 0.5
    network = small(outputs=3)
    y = op(x, generator=generator_from(13))
    found = fit(op, y, 20, network=network)
    assert found.x.shape == (2, *op.img_size)
    assert (found.x == found.x_last).all()
    assert found.status == "max_iter"
    rule = VarianceRule(window=5, patience=100)
    variance = fit(op, y, 20, network=network, stop=rule).history["variance"]
    assert variance[5:].isfinite().all()
    assert (found.history["loss"][-1] < 0.7 * found.history["loss"][0]).all()
    for parameter, before in zip(network.parameters(), small(outputs=3).parameters(), strict=True):
        assert (parameter == before).all()  # the given network stays as it is
        assert parameter.grad is None


def test_moving_variance():
    """sum w x^2 - (sum w x)^2 with weights a (1 - a)^age, the rest of them on the first image."""
    x = torch.randn(20, 2, 1, 3, 4, generator=generator_from(14), dtype=torch.float64)
    moving = MovingVariance(5)
    got = torch.stack([moving(image) for image in x])
    assert got[:5].isnan().all()
    assert got[5:].isfinite().all()
    weights = 0.2 * 0.8 ** torch.arange(19, -1, -1, dtype=torch.float64)
    weights[0] = 0.8**19
    mean, square = (torch.einsum("t,tbchw->bchw", weights, v) for v in (x, x.square()))
    expected = (square - mean.square()).mean((1, 2, 3))
    torch.testing.assert_close(got[-1], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: NetworkDescent(0), "expected max_iter 1 or more, got 0"),
        (
            lambda: NetworkDescent(step_size=-1.0),
            "expected step_size positive and finite",
        ),
        (lambda: NetworkDescent(noise_std=-0.1), "expected noise_std finite and not negative"),
        (lambda: NetworkDescent(averaging=1.0), r"expected averaging in \[0, 1\), got 1.0"),
        (lambda: NetworkDescent(max_drop=0.0), "expected max_drop above 0 dB"),
        (lambda: VarianceRule(window=1), "window >= 2"),
        (lambda: VarianceRule(patience=0), "patience >= 1"),
        (lambda: DiscrepancyRule(0.0), "tau > 0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()


def test_an_unknown_method_is_refused():
    with pytest.raises((ValueError, TypeCheckError), match="newton"):
        NetworkDescent(method="newton")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": VarianceRule()}, "more steps than the window, 33, or stop=None, got 20"),
        ({"truth": torch.zeros(1, 1, 32, 32)}, r"truth of shape \(3, 1, 32, 32\)"),
        ({"stop": DiscrepancyRule()}, "noise model of Denoising is None"),
        ({"network": small(outputs=3)}, r"draw images of shape \(3, 1, 32, 32\)"),
        ({"network": nn.Linear(3, 2)}, "one set of weights for each image"),
        ({"network": small(channels=(4,) * 5)}, "5 scales need sides of more than 32 pixels"),
        ({"z": torch.zeros(1, 7, 32, 32)}, r"noise of shape \(3, 8, H, W\)"),
        (
            {"network": Linear(torch.zeros(32 * 32, 2), (1, 32, 32))},
            "Linear does not say how many `inputs`",
        ),
    ],
)
def test_options(photos, options, message):
    with pytest.raises(ValueError, match=message):
        fit(Denoising((1, 32, 32)), photos, 20, **options)


def test_errors(photos):
    op = Denoising((1, 32, 32))
    for generator in ({}, {"generator": None}):
        with pytest.raises(TypeError, match="generator"):
            deep_image_prior(op, photos, **generator)
    with pytest.raises(ValueError, match=r"expected y of shape \(B, 1, 32, 32\)"):
        fit(op, photos[..., :30], 20)
