"""Noise: its moments, its seed, and where an operator applies it."""

import pytest
import torch

from course_lib.operators import Blur, Denoising, GaussianNoise, PoissonNoise, gaussian_kernel


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sigma", [0.0, 0.03, 2.0])
def test_gaussian_moments(sigma):
    clean = torch.full((100, 1, 40, 50), 0.4, dtype=torch.float64)
    noise = GaussianNoise(sigma)(clean, generator=seeded()) - clean
    # 2e5 draws: the mean is known to sigma / 447, the std to sigma / 632; four of those
    assert noise.mean().abs() <= 4 * sigma / 447
    assert (noise.std() - sigma).abs() <= 4 * sigma / 632 + 1e-15
    assert (noise[0] * noise[1]).mean().abs() <= 4 * sigma**2 / 44  # images are independent


@pytest.mark.parametrize("gain", [0.01, 0.5])
@pytest.mark.parametrize("level", [0.0, 0.2, 0.9])
def test_poisson_moments(gain, level):
    """Mean `clean`, variance gain * clean, values on multiples of the gain."""
    clean = torch.full((200_000, 1), level, dtype=torch.float64)
    y = PoissonNoise(gain)(clean, generator=seeded())
    std = (gain * level) ** 0.5
    assert y.mean() == pytest.approx(level, abs=4 * std / 447)
    # A Poisson variance is estimated to sqrt((2 + 1 / rate) / n).
    spread = ((2 + gain / level) / 200_000) ** 0.5 if level else 0
    assert y.var() == pytest.approx(std**2, rel=4 * spread)
    assert torch.allclose(y / gain, (y / gain).round(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("noise", [GaussianNoise(0.1), PoissonNoise(0.1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_is_a_draw(noise, dtype):
    clean = torch.full((1, 1, 8, 8), 0.5, dtype=dtype)
    first, again = noise(clean, generator=seeded(1)), noise(clean, generator=seeded(1))
    assert first.dtype == dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, noise(clean, generator=seeded(2)))


def test_the_global_seed_is_not_touched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    GaussianNoise(0.1)(torch.zeros(4), generator=seeded())
    PoissonNoise(0.1)(torch.ones(4), generator=seeded())
    assert torch.equal(torch.rand(3), expected)


def test_calling_an_operator_adds_its_noise_after_a():
    op = Blur(gaussian_kernel(1.0), (1, 16, 16), GaussianNoise(0.1))
    x = torch.rand(2, 1, 16, 16, generator=seeded(3))
    expected = op.A(x) + 0.1 * torch.randn(2, 1, 16, 16, generator=seeded())
    assert torch.equal(op(x, generator=seeded()), expected)


def test_without_noise_model_a_call_is_a():
    op = Blur(gaussian_kernel(1.0), (1, 16, 16))
    x = torch.rand(2, 1, 16, 16, generator=seeded(3))
    assert torch.equal(op(x), op.A(x))


def test_noise_is_not_clipped():
    y = Denoising((1, 50, 50), GaussianNoise(0.5))(torch.zeros(1, 50, 50), generator=seeded())
    assert y.min() < -1
    assert y.max() > 1


def test_psnr_of_white_noise():
    """sigma = 25 / 255 gives 20.17 dB (the slides' 19.93 dB is another sigma)."""
    op = Denoising((1, 256, 256), GaussianNoise(25 / 255))
    x = torch.full((1, 256, 256), 0.5, dtype=torch.float64)
    psnr = -10 * (op(x, generator=seeded()) - x).square().mean().log10()
    assert psnr == pytest.approx(20.17, abs=0.05)  # 65,536 draws: 0.02 dB


def test_gaussian_likelihood_is_that_of_torch():
    clean, y = torch.rand(2, 3, 1, 4, 5, generator=seeded(), dtype=torch.float64)
    expected = -torch.distributions.Normal(clean, 0.03).log_prob(y).flatten(1).sum(1)
    found = GaussianNoise(0.03).negative_log_likelihood(clean, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (GaussianNoise(0.03).std(clean) == 0.03).all()
    with pytest.raises(ValueError, match="sigma is 0, and y = A"):
        GaussianNoise(0.0).negative_log_likelihood(clean, y)


def test_poisson_likelihood_is_that_of_torch():
    noise = PoissonNoise(0.02)
    clean = 0.1 + torch.rand(3, 1, 4, 5, generator=seeded(), dtype=torch.float64)
    y = noise(clean, generator=seeded(1))
    counts = (y / 0.02).round()  # torch refuses 2.9999999999999996 photons
    expected = -torch.distributions.Poisson(clean / 0.02).log_prob(counts).flatten(1).sum(1)
    found = noise.negative_log_likelihood(clean, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(noise.std(clean), (0.02 * clean).sqrt())


def test_poisson_likelihood_goes_on_below_black():
    """Value and slope are continuous at a hundredth of a photon, and negative rates pull back."""
    noise, dark = PoissonNoise(1.0), torch.tensor([[0.01]], dtype=torch.float64)
    photons = torch.full_like(dark, 3.0)

    def value_and_slope(rate):
        rate = rate.requires_grad_()
        value = noise.negative_log_likelihood(rate, photons)
        return value.item(), torch.autograd.grad(value.sum(), rate)[0].item()

    (below, slope_below), (above, slope_above) = (
        value_and_slope(dark + step) for step in (-1e-9, 1e-9)
    )
    # The slope is 1 - 3 / 0.01 = -299; over 2e-9 the value moves by 6e-7, the slope by 6e-5.
    assert below == pytest.approx(above, abs=1e-6)
    assert slope_below == pytest.approx(slope_above, abs=1e-3)
    value, slope = value_and_slope(dark - 5)
    assert slope < -100
    assert value > below
