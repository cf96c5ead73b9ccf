"""Effective sample size and R-hat against closed forms and against their definitions in loops."""

import math

import pytest
import torch

from course_lib.inference.sampling.diagnostics import effective_sample_size, split_r_hat
from course_lib.rng import generator_from

S, R = 2000, 4


def autoregression(phi, shape, seed=0):
    """x_t = phi x_{t-1} + sqrt(1 - phi^2) e_t: unit variance, autocorrelation phi^t."""
    e = torch.randn(shape, generator=generator_from(seed), dtype=torch.float64)
    x = [e[0]]
    for row in e[1:]:
        x.append(phi * x[-1] + math.sqrt(1 - phi**2) * row)
    return torch.stack(x)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.3])
def test_effective_size_of_an_autoregression(phi):
    """1 + 2 sum phi^t = (1 + phi) / (1 - phi)."""
    found = effective_sample_size(autoregression(phi, (S, R, 100))).mean().item()
    # One estimate is off by a tenth or so, 100 of them by 1%; cutting the sum adds some more.
    assert found == pytest.approx(S * R * (1 - phi) / (1 + phi), rel=0.05)


def test_effective_size_predicts_the_error_of_the_mean():
    x = autoregression(0.8, (400, R, 2000), seed=1)
    ess = effective_sample_size(x).mean()
    # variance of 2000 means: relative standard error sqrt(2 / 2000) = 0.03
    assert x.mean((0, 1)).square().mean().item() == pytest.approx(1 / ess.item(), rel=0.12)


def test_alternating_draws_are_worth_more_but_not_without_limit():
    x = autoregression(-0.95, (S, R, 20))
    ess = effective_sample_size(x)
    limit = S * R * math.log10(S * R)
    torch.testing.assert_close(ess, torch.full_like(ess, limit))  # exactly, it would be 39 S R


@pytest.mark.parametrize(("seed", "rises"), [(2, False), (3, True)])
def test_both_against_loops(seed, rises):
    """In the second case a pair is larger than the one before, which is not believed."""
    x = autoregression(0.6, (31, 3), seed=seed)
    chains = [half for r in range(3) for half in (x[:15, r].tolist(), x[16:, r].tolist())]
    n, means, variances = 15, [], []
    for chain in chains:
        means.append(sum(chain) / n)
        variances.append(sum((v - means[-1]) ** 2 for v in chain) / (n - 1))
    W, grand = sum(variances) / 6, sum(means) / 6
    total = (n - 1) / n * W + sum((m - grand) ** 2 for m in means) / 5
    assert split_r_hat(x).item() == pytest.approx(math.sqrt(total / W), rel=1e-12)

    def rho(t):
        lagged = 0.0
        for chain, m in zip(chains, means, strict=True):
            lagged += sum((chain[i] - m) * (chain[i + t] - m) for i in range(n - t)) / (n - 1)
        return 1 - (W - lagged / 6) / total

    raw, pairs = [rho(2 * k) + rho(2 * k + 1) for k in range(n // 2)], []
    while len(pairs) < n // 2 and raw[len(pairs)] > 0:
        pairs.append(min(raw[: len(pairs) + 1]))
    assert (pairs != raw[: len(pairs)]) == rises
    ess = 6 * n / max(2 * sum(pairs) - 1, 1 / math.log10(6 * n))
    assert effective_sample_size(x).item() == pytest.approx(ess, rel=1e-10)


def test_chains_in_different_places():
    """Means m_r and unit variances: R-hat^2 = 1 + var(m), and hardly a draw is effective."""
    m = torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64)
    x = autoregression(0.0, (S, R)) + m
    exact = math.sqrt(1 + m.repeat(2).var().item())
    assert split_r_hat(x).item() == pytest.approx(exact, rel=0.03)  # W is known to 1%
    assert effective_sample_size(x) < 10
    assert split_r_hat(autoregression(0.0, (S, R))).item() == pytest.approx(1, abs=2e-3)


def test_one_chain_on_its_way():
    drift = torch.linspace(0, 5, S, dtype=torch.float64)[:, None]
    assert split_r_hat(autoregression(0.0, (S, 1)) + drift) > 1.5


def test_chains_that_stand_still():
    still = torch.arange(3.0).expand(100, 3)
    assert split_r_hat(still) == math.inf
    assert effective_sample_size(still).item() == pytest.approx(3, rel=0.02)  # one a chain
    assert split_r_hat(torch.ones(10, 3)).isnan()
    assert effective_sample_size(torch.ones(10, 3)).isnan()


def test_quantities_do_not_meet():
    x = autoregression(0.5, (50, R, 2, 3))
    one = x[:, :, 1, 2]
    torch.testing.assert_close(split_r_hat(x)[1, 2], split_r_hat(one))
    torch.testing.assert_close(effective_sample_size(x)[1, 2], effective_sample_size(one))


@pytest.mark.parametrize("function", [split_r_hat, effective_sample_size])
def test_bad_input(function):
    with pytest.raises(ValueError, match=r"S >= 4 samples of R chains, got \(3, 2\)"):
        function(torch.zeros(3, 2))
