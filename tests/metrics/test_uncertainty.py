"""Coverage against closed forms, spread against its variance, the energy score's propriety."""

import math

import pytest
import torch
from scipy.stats import norm

from course_lib.metrics import (
    average_pairwise_distance,
    coverage_curve,
    energy_score,
    interval_coverage,
    mse,
    ssim,
)

PIXELS = (1, 1, 200, 200)
ERROR = math.sqrt(0.9 * 0.1 / 40_000)  # standard deviation of a coverage near 0.9


def posterior(count, generator, shape=PIXELS, spread=1.0):
    """(samples, truth) of N(0, 1) in each pixel, the samples scaled by `spread`."""
    draws = torch.randn(count + 1, *shape, generator=generator)
    return spread * draws[1:], draws[0]


@pytest.mark.parametrize(("count", "expected"), [(20, 0.844), (50, 0.877), (100, 0.888)])
def test_raw_coverage_of_a_perfect_posterior_falls_short(count, expected, generator):
    found = interval_coverage(*posterior(count, generator), 0.9)
    assert found.item() == pytest.approx(expected, abs=0.0005 + 4 * ERROR)


@pytest.mark.parametrize("count", [20, 100])
def test_corrected_coverage_of_a_perfect_posterior_is_exact(count, generator):
    """The rank k = ceil(alpha (S + 1)) of S + 1 exchangeable deviations: k / (S + 1)."""
    found = interval_coverage(*posterior(count, generator), 0.9, corrected=True)
    expected = math.ceil(0.9 * (count + 1)) / (count + 1)  # 0.901 with 100 samples
    # Exchangeable but for the mean they share, which matters little: 0.003 at 20 samples.
    assert found.item() == pytest.approx(expected, abs=4 * ERROR + 0.06 / count)


@pytest.mark.parametrize("spread", [0.53, 0.69, 1.0, 1.3])
def test_coverage_with_a_wrong_spread(spread, generator):
    """Standard deviations too small by r: 2 Phi(1.645 r) - 1, with many samples."""
    samples, truth = posterior(100, generator, spread=spread)
    expected = 2 * norm.cdf(norm.ppf(0.95) * spread) - 1
    found = interval_coverage(samples, truth, 0.9, corrected=True)
    assert found.item() == pytest.approx(expected, abs=0.01)


def test_the_curve_of_a_perfect_posterior_is_the_diagonal(generator):
    samples, truth = posterior(100, generator, shape=(2, 1, 100, 100))
    curve = coverage_curve(samples, truth, corrected=True)
    assert curve.shape == (19, 2)
    levels = torch.arange(0.05, 0.96, 0.05)
    assert torch.allclose(curve.mean(1), levels, rtol=0, atol=0.5 / 101 + 4 * 0.5 / 141 + 0.005)
    assert (curve.diff(dim=0) >= 0).all()
    for i in (0, 10, 18):
        single = interval_coverage(samples, truth, 0.05 * (i + 1), corrected=True)
        assert torch.equal(curve[i], single)


def test_coverage_is_that_of_torch_quantile(generator):
    samples, truth = posterior(13, generator, shape=(3, 2, 9, 7))
    mean = samples.mean(0)
    for alpha in (0.1, 0.5, 0.77):
        width = (samples - mean).abs().quantile(alpha, dim=0)
        expected = ((truth - mean).abs() <= width).float().flatten(1).mean(1)
        assert torch.allclose(interval_coverage(samples, truth, alpha), expected)


def test_the_corrected_rank_is_not_moved_by_rounding():
    """0.55 * 20 is a little more than 11: the eleventh deviation is meant."""
    samples = torch.arange(-9.0, 10.0).reshape(19, 1, 1, 1, 1)
    width = 5 * math.sqrt(20 / 18)  # deviations 0, 1, 1, 2, 2, ...: the eleventh is 5
    truth = torch.tensor([width - 1e-3, width + 1e-3]).reshape(1, 1, 1, 2)
    found = interval_coverage(samples.expand(19, 1, 1, 1, 2), truth, 0.55, corrected=True)
    assert found.item() == 0.5


def test_pairwise_distance_of_gaussian_samples(generator):
    samples = 0.1 * torch.randn(20, 2, 1, 64, 64, generator=generator, dtype=torch.float64)
    found = average_pairwise_distance(samples)
    assert found.tolist() == pytest.approx([2 * 0.01] * 2, rel=0.02)


@pytest.mark.parametrize("distance", [mse, lambda x, y: 1 - ssim(x, y)])
def test_pairwise_distance_equals_the_double_loop(distance, generator):
    samples = torch.rand(5, 2, 3, 12, 13, generator=generator, dtype=torch.float64)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = sum(distance(samples[i], samples[j]) for i, j in pairs) / len(pairs)
    assert torch.allclose(average_pairwise_distance(samples, distance), expected, rtol=1e-12)
    if distance is mse:
        assert torch.allclose(average_pairwise_distance(samples), expected, rtol=1e-12)


def test_equal_samples_have_no_spread():
    samples = torch.rand(1, 1, 1, 8, 8).expand(4, -1, -1, -1, -1)
    assert average_pairwise_distance(samples).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [2, 7, 30])
def test_energy_score_equals_the_double_loop(count, generator):
    samples = torch.rand(count, 2, 3, 5, 6, generator=generator, dtype=torch.float64)
    truth = torch.rand(2, 3, 5, 6, generator=generator, dtype=torch.float64)

    def distance(x, y):
        return (x - y).square().flatten(1).mean(1).sqrt()

    to_truth = sum(distance(x, truth) for x in samples) / count
    between = sum(distance(x, y) for x in samples for y in samples) / (count * (count - 1))
    found = energy_score(samples, truth)
    assert torch.allclose(found, to_truth - between / 2, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (-0.7, 1.0), (0.0, 0.5), (0.0, 1.8)])
def test_energy_score_is_proper(shift, spread, generator):
    """On average over truths, the true distribution wins by far more than the sampling error."""
    samples, truth = posterior(10, generator, shape=(4000, 1, 1, 2))
    gain = energy_score(shift + spread * samples, truth) - energy_score(samples, truth)
    assert gain.mean() > 5 * gain.std() / math.sqrt(4000)


def test_energy_score_does_not_depend_on_the_number_of_samples(generator):
    """Unbiased: E|x - u| / 2 for the true distribution, with 1 / sqrt(pi) for N(0, 1)."""
    for count in (2, 10):
        samples, truth = posterior(count, generator, shape=(40_000, 1, 1, 1))
        score = energy_score(samples, truth)
        error = 4 * score.std().item() / 200
        assert score.mean().item() == pytest.approx(1 / math.sqrt(math.pi), abs=error)


@pytest.mark.parametrize("metric", [interval_coverage, energy_score])
def test_samples_of_one_measurement(metric, generator):
    samples, truth = posterior(8, generator, shape=(1, 3, 5, 6))
    assert torch.equal(metric(samples[:, 0], truth), metric(samples, truth))
    assert torch.equal(average_pairwise_distance(samples[:, 0]), average_pairwise_distance(samples))


@pytest.mark.parametrize("metric", [average_pairwise_distance, interval_coverage, energy_score])
def test_bad_samples(metric):
    truth = () if metric is average_pairwise_distance else (torch.zeros(2, 1, 4, 4),)
    with pytest.raises(TypeError, match="floating-point samples"):
        metric(torch.zeros(3, 2, 1, 4, 4, dtype=torch.long), *truth)
    with pytest.raises(ValueError, match=r"samples of shape \(S, B, C, H, W\)"):
        metric(torch.zeros(3, 4, 4), *truth)
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        metric(torch.zeros(1, 2, 1, 4, 4), *truth)
    if truth:
        with pytest.raises(ValueError, match="they must agree"):
            metric(torch.zeros(3, 2, 1, 4, 5), *truth)
        with pytest.raises(ValueError, match="they must agree"):
            metric(torch.zeros(3, 1, 4, 4), *truth)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, 90.0])
def test_bad_alpha(alpha, generator):
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\)"):
        interval_coverage(*posterior(5, generator), alpha)


def test_too_few_samples_for_the_correction(generator):
    samples, truth = posterior(18, generator, shape=(1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"18 samples cannot bound .* 0\.95 .* at least 19"):
        interval_coverage(samples, truth, 0.95, corrected=True)
    assert interval_coverage(*posterior(19, generator), 0.95, corrected=True) > 0.9
