"""A flow is an exact bijection, and its density is what the determinant of its Jacobian says."""

import math
from itertools import product

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import conv2d

from course_lib.models.flow import LOW_STD, SuperResolutionFlow
from course_lib.models.flow_layers import (
    ActNorm,
    GlowStep,
    Rotation,
    haar,
    haar_inverse,
    shift_and_scale,
)
from course_lib.rng import generator_from

EPS = 2.2e-16


def flow(dtype=torch.float64, **changes) -> SuperResolutionFlow:
    """A small one whose networks answer something, unlike fresh ones."""
    torch.manual_seed(0)
    arguments = {"steps": (2, 3), "lifting": 2, "features": 5, "blocks": 1, "hidden": 6, **changes}
    model = SuperResolutionFlow(**arguments)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.to(dtype)


def images(n: int, size=(1, 8, 8), dtype=torch.float64) -> torch.Tensor:
    return torch.rand(n, *size, generator=generator_from(1), dtype=dtype)


def standard_log_prob(latents: list[torch.Tensor]) -> torch.Tensor:
    return sum(Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1) for z in latents)


@pytest.mark.parametrize(("size", "factor"), [((1, 8, 12), 4), ((1, 6, 4), 2), ((3, 8, 4), 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_inverse(size, factor, dtype, tolerance):
    """Rounding only: some 20 steps, each scaling by 1.65 at most."""
    model = flow(dtype, image_channels=size[0])
    x = images(3, size, dtype)
    low, latents = model.encode(x, factor)
    assert low.shape == (3, size[0], size[1] // factor, size[2] // factor)
    assert low.numel() + sum(z.numel() for z in latents) == x.numel()
    torch.testing.assert_close(model.decode(low, latents), x, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("side", "factor"), [(2, 2), (4, 2), (4, 4), (8, 4)])
def test_log_determinant_against_the_jacobian(side, factor):
    model = flow()
    x = images(1, (1, side, side))

    def mapped(flat: torch.Tensor) -> torch.Tensor:
        low, latents = model.encode(flat.view_as(x), factor)
        return torch.cat([part.flatten() for part in (low, *latents)])

    jacobian = torch.autograd.functional.jacobian(mapped, x.flatten())
    low, latents = model.encode(x, factor)
    gaussians = Normal(low, LOW_STD).log_prob(low).sum() + standard_log_prob(latents)
    log_det = model.log_prob(x, low) - gaussians
    # 64 numbers of size 10 in the sum, 64 x 64 operations in the dense determinant.
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(log_det[0], expected, rtol=0, atol=1e-10)


def test_sum_over_levels():
    """log p(x | y) = log p(details | c_1) + log p(c_1 | y), the latter by the other levels."""
    model = flow(steps=(2, 1, 2))
    x, y = images(2, (1, 16, 8)), images(2, (1, 2, 1))
    coarse, first = next(model.densities(x))
    rest = flow(steps=(1, 2))
    rest.levels = model.levels[1:]
    torch.testing.assert_close(
        model.log_prob(x, y), first + rest.log_prob(coarse, y), rtol=1e-13, atol=0
    )


def test_low_resolution_term():
    """A y that is off by d costs |d|^2 / (2 s^2) nats and changes nothing else."""
    model = flow()
    x = images(2)
    low, _ = model.encode(x, 4)
    d = 1e-3 * torch.arange(8, dtype=x.dtype).view(2, 1, 2, 2)
    cost = model.log_prob(x, low) - model.log_prob(x, low + d)
    # The subtraction of two numbers of size 1e3 leaves 1e3 EPS.
    expected = d.square().sum((1, 2, 3)) / (2 * LOW_STD**2)
    torch.testing.assert_close(cost, expected, rtol=0, atol=1e4 * EPS)


def test_samples_are_consistent_and_their_latents_have_the_temperature():
    """Encoding a sample returns y itself, and latents of standard deviation tau."""
    model = flow()
    y = images(3, (1, 2, 3))
    samples = model.sample(y, 200, factor=4, temperature=0.7, generator=generator_from(2))
    assert samples.shape == (200, 3, 1, 8, 12)
    for drawn in samples[:5]:
        torch.testing.assert_close(model.encode(drawn, 4)[0], y, rtol=0, atol=1e-12)
    _, latents = model.encode(samples.flatten(0, 1), 4)
    z = torch.cat([part.flatten() for part in latents])
    # 54,000 draws: the standard error of a standard deviation is tau / sqrt(2 n) = 0.3 %.
    assert z.std().item() == pytest.approx(0.7, rel=0.012)
    assert abs(z.mean().item()) < 4 * 0.7 / len(z) ** 0.5


def test_temperature_zero_is_deterministic():
    model = flow()
    y = images(2, (1, 2, 2))
    first, second = (
        model.sample(y, 2, factor=4, temperature=0.0, generator=generator_from(seed))
        for seed in (3, 4)
    )
    assert torch.equal(first, second)
    assert torch.equal(first[0], first[1])
    warm = model.sample(y, 2, factor=4, temperature=0.5, generator=generator_from(3))
    assert (warm[0] - warm[1]).abs().max() > 1e-3
    again = model.sample(y, 2, factor=4, temperature=0.5, generator=generator_from(3))
    assert torch.equal(warm, again)


@pytest.mark.parametrize("channels", [1, 2])
def test_conditional_density_integrates_to_one(channels):
    """Glow steps on one pixel of 1 or 2 channels, by the trapezoidal rule on [-9, 9]^channels."""
    torch.manual_seed(1)
    steps = [GlowStep(channels, features=3, hidden=8).double() for _ in range(3)]
    for step in steps:
        for parameter in step.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    side = torch.linspace(-9, 9, 361, dtype=torch.float64)
    z = torch.tensor(list(product(side, repeat=channels)), dtype=torch.float64)
    z = z.view(-1, channels, 1, 1)
    features = images(1, (3, 1, 1)).expand(len(z), -1, -1, -1)
    log_density = torch.zeros(len(z), dtype=torch.float64)
    with torch.no_grad():
        for step in steps:
            z, log_det = step(z, features)
            log_density = log_density + log_det
    log_density = log_density + standard_log_prob([z])
    total = log_density.exp().sum().item() * (side[1] - side[0]).item() ** channels
    # The rule converges exponentially where the density is smooth; the kinks of the rectifiers
    # leave h^2 = 2.5e-3 times the part of the plane where they are.
    assert total == pytest.approx(1, abs=1e-10 if channels == 1 else 1e-4)


def test_rotation_is_orthogonal_for_any_weight():
    """Errors of the 5 x 5 solve are some EPS times its condition number, at most |I + S|."""
    for scale in (0.0, 1.0, 30.0):
        rotation = Rotation(5).double()
        rotation.weight.data *= scale
        matrix = rotation.matrix
        error = (matrix @ matrix.T - torch.eye(5, dtype=matrix.dtype)).abs().max()
        assert error < 100 * EPS * (1 + scale)
        assert torch.linalg.slogdet(matrix).logabsdet.abs() < 100 * EPS * (1 + scale)
        z = images(2, (5, 3, 4))
        torch.testing.assert_close(rotation(z), conv2d(z, matrix[:, :, None, None]))
        torch.testing.assert_close(rotation.inverse(rotation(z)), z, rtol=0, atol=1e-12)


def test_haar():
    """Means and differences of blocks; the determinant is that of the matrix."""
    x = images(1, (2, 4, 6))
    coarse, details, log_det = haar(x)
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(x, 2))
    torch.testing.assert_close(haar_inverse(coarse, details), x, rtol=0, atol=4 * EPS)
    # Orthonormal, but for the means, which are half of what the orthonormal transform has.
    torch.testing.assert_close(4 * coarse.square().sum() + details.square().sum(), (x**2).sum())
    assert log_det.item() == pytest.approx(-math.log(2) * coarse.numel())
    impulse = torch.zeros(1, 1, 2, 2, dtype=x.dtype)
    impulse[0, 0, 0, 1] = 1
    assert haar(impulse)[1].flatten().tolist() == [-0.5, 0.5, -0.5]


def test_scales_are_bounded():
    """(2 / pi) / 2 atan(2 s): the 0.318 atan(2 s) of the source, within [-1/2, 1/2]."""
    free = torch.linspace(-50, 50, 101, dtype=torch.float64).view(1, 101, 1, 1)
    shift, log_scale = shift_and_scale(torch.cat([free, free], dim=1))
    assert torch.equal(shift, free)
    torch.testing.assert_close(log_scale, 0.318 * torch.atan(2 * free), rtol=1.1e-3, atol=0)
    assert log_scale.abs().max() < 0.5


def test_initialisation_standardises_once_and_is_stored():
    torch.manual_seed(0)
    model = SuperResolutionFlow(steps=(2, 2), features=4, hidden=4).double()
    x = 0.3 + 0.2 * images(16)
    assert not model.initialised
    model.initialise(x)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, ActNorm):
            module.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out[0]}))
    model.encode(x, 4)
    assert len(seen) == 6  # one for each level and each step
    for name, z in seen.items():
        std, mean = torch.std_mean(z, dim=(0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12, msg=name)
        torch.testing.assert_close(std, torch.ones_like(std), rtol=0, atol=1e-12, msg=name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.initialise(images(16) ** 4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    other = SuperResolutionFlow(steps=(2, 2), features=4, hidden=4).double()
    other.load_state_dict(before)
    assert other.initialised


def test_fresh_flow_is_the_haar_transform():
    """Networks answer 0 and norms 1 at first: the coarse image is the mean of 4 x 4 pixels."""
    model = SuperResolutionFlow(steps=(2, 2)).double()
    x = images(2)
    low, _ = model.encode(x, 4)
    torch.testing.assert_close(low, torch.nn.functional.avg_pool2d(x, 4))


def test_half_precision_networks_leave_the_arithmetic_alone():
    """Under autocast the networks round to 8 bits; the image and its density do not follow."""
    model = flow(torch.float32)
    x = images(2, (1, 16, 16), torch.float32)
    low, _ = model.encode(x, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_latents = model.encode(x, 4)
    assert rounded.dtype == torch.float32
    assert all(z.dtype == torch.float32 for z in rounded_latents)
    # A network's answer, of size 0.1 to 1 here, has an error of 2^-9 of it.
    assert (rounded - low).abs().max() < 0.02


def test_gradients_reach_every_weight():
    model = flow(hidden=16)  # enough rectifiers that some are open
    model.log_prob(images(4), images(4, (1, 2, 2))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_bad_input():
    model = flow()
    with pytest.raises(ValueError, match=r"knows the factors \(2, 4\), got 8"):
        model.encode(images(1, (1, 16, 16)), 8)
    with pytest.raises(ValueError, match=r"multiples of 4, got 6 x 8"):
        model.encode(images(1, (1, 6, 8)), 4)
    with pytest.raises(ValueError, match=r"expected images \(B, 1, H, W\), got \(1, 3, 8, 8\)"):
        model.encode(images(1, (3, 8, 8)), 4)
    with pytest.raises(ValueError, match=r"\(8, 8\) is not a multiple of \(3, 2\)"):
        model.log_prob(images(1), images(1, (1, 3, 2)))
    with pytest.raises(ValueError, match="temperature must be >= 0"):
        model.sample(
            images(1, (1, 2, 2)), 2, factor=4, temperature=-1.0, generator=generator_from(0)
        )
    with pytest.raises(ValueError, match=r"knows the factors \(2, 4\), got 3"):
        model.sample(images(1, (1, 2, 2)), 2, factor=3, generator=generator_from(0))
