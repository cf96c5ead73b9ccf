"""The exercises' checks pass right answers, refuse plausible wrong ones, and climb their hints."""

import math
from functools import partial

import pytest
import torch
from torch.fft import irfft2, rfft2

from course_lib import exercises as checks
from course_lib.finite_differences import laplacian, laplacian_symbol
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.metrics import interval_coverage
from course_lib.operators import Blur, Downsampling, box_kernel, gaussian_kernel
from course_lib.solvers import tychonov

SIZE = (1, 12, 10)
OP = Blur(gaussian_kernel(1.0, 5, torch.float64), SIZE)
Y = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
F = LeastSquares(OP, Y) + Tychonov(0.2)
COARSE = Downsampling((1, 12, 12), 2, box_kernel(2))
CHECKER = (-1.0) ** (torch.arange(12)[:, None] + torch.arange(12)).reshape(1, 1, 12, 12)
TOP = (OP.gain + 0.4 * laplacian_symbol(SIZE[1:])).max().item()


def heat(u, tau, n, *, power=True):
    factor = 1 - 2 * tau * laplacian_symbol(u.shape[-2:])
    return irfft2((factor**n if power else 1 - n * (1 - factor)) * rfft2(u), s=u.shape[-2:])


def least_error(y, k, sigma, S, *, pixels=True):
    noise = sigma**2 * (y.shape[-2] * y.shape[-1] if pixels else 1)
    return irfft2(k.conj() / (k.abs() ** 2 + noise / S) * rfft2(y), s=y.shape[-2:])


def at_level(x, d, level):
    return x + 10 ** (-level / 20) / d.square().mean().sqrt() * d


def covered(samples, truth, alpha, *, corrected=True):
    stack = [u[:, None, None, None, :] for u in (samples, truth[None])]
    return interval_coverage(stack[0], stack[1][0], alpha, corrected=corrected).item()


def energy(samples, truth, *, weight=0.5):
    s = len(samples)
    spread = torch.cdist(samples, samples).sum() / (s * (s - 1))
    return (samples - truth).norm(dim=1).mean() - weight * spread


def rate(mean, log_std, *, twice=2):
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1 - twice * log_std).flatten(1).sum(1)


def nats(mse, rate, n, s, *, constant=True):
    value = n * mse / (2 * s**2) + n * math.log(s) + rate
    return value + constant * n / 2 * math.log(2 * math.pi)


def for_screen(x, *, clip=True, whole=torch.round):
    levels = whole((x + 1) * 127.5)
    return (levels.clamp(0, 255) if clip else levels).to(torch.int32).byte().movedim(0, -1)


def attention(scores, lost, *, guard=True):
    weights = scores.masked_fill(lost, -torch.inf).softmax(1)
    return weights.nan_to_num(0.0) if guard else weights


def nearest(A, W, c, y):
    return c + W @ torch.linalg.pinv(A @ W) @ (y - A @ c)


def log_density(L, r, *, half=0.5):
    constant = len(r) / 2 * math.log(2 * math.pi)
    return torch.logdet(L) - half * (L.T @ r).square().sum() - constant


def divergence(b):
    return (b.square() - 1).sum() / 2 - b.log().sum()


def x_step(y, mask, generated, sigma, std):
    gain = mask * std**2 / (sigma**2 + std**2)
    return generated + gain * (y - generated)


def price(m_q, l_q, m_p, l_p, *, half=0.5):
    square = ((2 * l_q).exp() + (m_q - m_p) ** 2) * (-2 * l_p).exp()
    return (l_p - l_q + half * (square - 1)).flatten(1).sum(1)


def project(x, y, A, A_dagger):
    return x - A_dagger(A(x) - y)


def bins(mean, scale, n, *, half=1.0, ends=True):
    levels = 2 * torch.arange(n).double() / (n - 1) - 1
    low, high = (torch.sigmoid((levels + sign * half / (n - 1) - mean) / scale) for sign in (-1, 1))
    if ends:
        low[0], high[-1] = 0, 1
    return high - low


def variance(x, w, correction=0):
    return x.unfold(0, w, 1).var(-1, correction=correction).mean(1)


def field(sizes, strides, *, late=True):
    seen, spacing = 1, 1
    for size, stride in zip(sizes, strides, strict=True):
        spacing *= 1 if late else stride
        seen += (size - 1) * spacing
        spacing *= stride if late else 1
    return seen


def trace(pull, x, generator):
    e = 2.0 * torch.randint(0, 2, x.shape, generator=generator) - 1
    return e.to(x) @ pull(e.to(x))


def identity(h):
    return torch.zeros_like(h).index_fill(2, torch.tensor(1), 1.0) * torch.tensor([0.0, 1.0, 0.0])


def kernel_gradient(h, x, y):
    r = sum(h[t] * x.roll(t - 1) for t in range(3)) - y
    return torch.stack([x.roll(t - 1) @ r for t in range(3)])


def slope(g, p):
    inside = p > 0
    return torch.where(inside, g - g[inside].mean(), 0)


def bits(nats, n, low, high):
    return nats / (n * math.log(2)) + math.log2(256 / (high - low))


RIGHT = {
    "adjoint": lambda: checks.check_adjoint(
        lambda x: x.roll(1, -1), lambda v: v.roll(-1, -1), SIZE
    ),
    "gradient": lambda: checks.check_gradient(F, F.grad, SIZE),
    "null": lambda: checks.check_null_projection(
        lambda x: x - COARSE.A_dagger(COARSE.A(x)), COARSE.A, (1, 12, 12)
    ),
    "gain": lambda: checks.check_noise_gain(lambda k, s: s * k.abs().pow(-2).mean().sqrt()),
    "step": lambda: checks.check_step_bound(lambda: 2 / TOP, F.hvp, SIZE),
    "minimiser": lambda: checks.check_minimiser(F, lambda: tychonov(OP, Y, 0.2).x),
    "residual": lambda: checks.check_residual(lambda: torch.full((4,), 0.1), 0.1),
    "heat": lambda: checks.check_heat(heat),
    "wiener": lambda: checks.check_wiener_limits(least_error),
    "equal": lambda: checks.check_equal_error(at_level),
    "coverage": lambda: checks.check_coverage(covered),
    "energy": lambda: checks.check_energy_score(energy),
    "rate": lambda: checks.check_rate(rate),
    "nats": lambda: checks.check_loss_in_nats(nats),
    "screen": lambda: checks.check_to_display(for_screen),
    "attention": lambda: checks.check_attention(attention),
    "nearest": lambda: checks.check_nearest_in_model(nearest),
    "weight": lambda: checks.check_latent_weight(lambda lam, m, sigma: lam * m / sigma**2),
    "bear": lambda: checks.check_effective_noise(
        lambda A, sigma, std: (sigma**2 + std**2 * A.square().sum().item() / len(A)) ** 0.5
    ),
    "x-step": lambda: checks.check_x_step(x_step),
    "price": lambda: checks.check_group_price(price),
    "projection": lambda: checks.check_projection(project),
    "bins": lambda: checks.check_bins(bins),
    "log density": lambda: checks.check_log_density(log_density),
    "scales": lambda: checks.check_image_divergence(divergence),
    "mean field": lambda: checks.check_mean_field_scale(lambda P: P.diagonal().rsqrt()),
    "filter": lambda: checks.check_filter_factors(lambda s, tau, k: 1 - (1 - tau * s**2) ** k),
    "variance": lambda: checks.check_moving_variance(variance),
    "field": lambda: checks.check_receptive_field(field),
    "velocity": lambda: checks.check_velocity(lambda x, s, f, g: f * x - g**2 * s / 2),
    "trace": lambda: checks.check_trace(trace),
    "bits": lambda: checks.check_bits(bits),
    "trivial": lambda: checks.check_trivial_pair(lambda x, h, blur: (blur(x), identity(h))),
    "kernel": lambda: checks.check_kernel_gradient(kernel_gradient),
    "slope": lambda: checks.check_slope_through_projection(slope),
}
WRONG = {
    "adjoint-same-way": lambda: checks.check_adjoint(
        lambda x: x.roll(1, -1), lambda v: v.roll(1, -1), SIZE
    ),
    "adjoint-shape": lambda: checks.check_adjoint(lambda x: x[..., ::2, :], lambda v: v, SIZE),
    "gradient-factor": lambda: checks.check_gradient(F, lambda u: 1.01 * F.grad(u), SIZE),
    "gradient-shape": lambda: checks.check_gradient(F, lambda u: F.grad(u)[0], SIZE),
    "null-zero": lambda: checks.check_null_projection(torch.zeros_like, COARSE.A, (1, 12, 12)),
    "null-identity": lambda: checks.check_null_projection(lambda x: x, COARSE.A, (1, 12, 12)),
    "null-one-direction": lambda: checks.check_null_projection(
        lambda x: (x * CHECKER).sum() / CHECKER.square().sum() * CHECKER, COARSE.A, (1, 12, 12)
    ),
    "gain-no-inverse": lambda: checks.check_noise_gain(
        lambda k, s: s * k.abs().pow(2).mean().sqrt()
    ),
    "step-sum-of-maxima": lambda: checks.check_step_bound(lambda: 2 / F.lipschitz, F.hvp, SIZE),
    "step-too-long": lambda: checks.check_step_bound(lambda: 2.02 / TOP, F.hvp, SIZE),
    "minimiser-lam": lambda: checks.check_minimiser(F, lambda: tychonov(OP, Y, 0.19).x),
    "residual-small": lambda: checks.check_residual(lambda: torch.full((4,), 0.09), 0.1),
    "heat-linear": lambda: checks.check_heat(lambda u, t, n: heat(u, t, n, power=False)),
    "heat-one-step": lambda: checks.check_heat(lambda u, t, n: u + 2 * t * laplacian(u)),
    "wiener-units": lambda: checks.check_wiener_limits(
        lambda *args: least_error(*args, pixels=False)
    ),
    "equal-power": lambda: checks.check_equal_error(
        lambda x, d, level: x + 10 ** (-level / 10) / d.square().mean().sqrt() * d
    ),
    "equal-not-on-the-ray": lambda: checks.check_equal_error(
        lambda x, d, level: at_level(x, -d, level)
    ),
    "coverage-raw": lambda: checks.check_coverage(lambda *args: covered(*args, corrected=False)),
    "coverage-no-root": lambda: checks.check_coverage(
        lambda samples, truth, alpha: covered(20 / 19 * samples, truth, alpha)
    ),
    "coverage-the-level-itself": lambda: checks.check_coverage(lambda *args: args[2]),
    "energy-all-pairs": lambda: checks.check_energy_score(
        lambda samples, truth: energy(samples, truth, weight=0.5 * (1 - 1 / len(samples)))
    ),
    "energy-closeness-alone": lambda: checks.check_energy_score(
        lambda *args: energy(*args, weight=0)
    ),
    "energy-twice-the-spread": lambda: checks.check_energy_score(
        lambda *args: energy(*args, weight=1)
    ),
    "rate-log-variance": lambda: checks.check_rate(lambda *args: rate(*args, twice=1)),
    "rate-mean": lambda: checks.check_rate(lambda *args: rate(*args) / 6),
    "rate-of-the-batch": lambda: checks.check_rate(lambda *args: rate(*args).sum()),
    "nats-no-constant": lambda: checks.check_loss_in_nats(lambda *a: nats(*a, constant=False)),
    "nats-report": lambda: checks.check_loss_in_nats(lambda mse, rate, n, s: mse + rate),
    "screen-wraps": lambda: checks.check_to_display(lambda x: for_screen(x, clip=False)),
    "screen-cut-off": lambda: checks.check_to_display(lambda x: for_screen(x, whole=torch.floor)),
    "screen-float": lambda: checks.check_to_display(lambda x: for_screen(x).float()),
    "screen-channels": lambda: checks.check_to_display(lambda x: for_screen(x).movedim(-1, 0)),
    "screen-bgr": lambda: checks.check_to_display(lambda x: for_screen(x).flip(-1)),
    "attention-after": lambda: checks.check_attention(
        lambda scores, lost: scores.softmax(1) * ~lost
    ),
    "attention-rows": lambda: checks.check_attention(lambda s, lost: attention(s.T, lost).T),
    "attention-nan": lambda: checks.check_attention(lambda *a: attention(*a, guard=False)),
    "nearest-whole": lambda: checks.check_nearest_in_model(
        lambda A, W, c, y: torch.linalg.pinv(A) @ y
    ),
    "nearest-no-mean": lambda: checks.check_nearest_in_model(
        lambda A, W, c, y: W @ torch.linalg.pinv(A @ W) @ y
    ),
    "nearest-projected": lambda: checks.check_nearest_in_model(
        lambda A, W, c, y: c + W @ torch.linalg.pinv(W) @ torch.linalg.pinv(A) @ (y - A @ c)
    ),
    "weight-upside-down": lambda: checks.check_latent_weight(
        lambda lam, m, sigma: sigma**2 / (m * lam)
    ),
    "weight-two": lambda: checks.check_latent_weight(lambda lam, m, sigma: lam * m / 2 / sigma**2),
    "bear-sum": lambda: checks.check_effective_noise(lambda A, sigma, std: sigma + std),
    "bear-variance": lambda: checks.check_effective_noise(
        lambda A, sigma, std: sigma**2 + std**2 * A.square().sum().item() / len(A)
    ),
    "bear-columns": lambda: checks.check_effective_noise(
        lambda A, s, std: (s**2 + std**2 * A.square().sum().item() / A.shape[1]) ** 0.5
    ),
    "log density-half": lambda: checks.check_log_density(partial(log_density, half=1.0)),
    "log density-precision": lambda: checks.check_log_density(
        lambda L, r: log_density(torch.linalg.inv(L).T, r)
    ),
    "scales-constant": lambda: checks.check_image_divergence(
        lambda b: divergence(b) + 0.5 * len(b)
    ),
    "mean field-marginal": lambda: checks.check_mean_field_scale(
        lambda P: torch.linalg.inv(P).diagonal().sqrt()
    ),
    "x-step-seen": lambda: checks.check_x_step(
        lambda y, mask, generated, sigma, std: mask * y + (1 - mask) * generated
    ),
    "x-step-weights": lambda: checks.check_x_step(
        lambda y, mask, generated, sigma, std: x_step(y, mask, generated, std, sigma)
    ),
    "price-other-way": lambda: checks.check_group_price(lambda a, b, c, d: price(c, d, a, b)),
    "price-whole": lambda: checks.check_group_price(lambda *a: price(*a, half=1.0)),
    "price-mean": lambda: checks.check_group_price(lambda *a: price(*a) / 12),
    "projection-gradient": lambda: checks.check_projection(
        lambda x, y, A, A_dagger: x - 0.5 * A_dagger(A(x) - y)
    ),
    "projection-replaces": lambda: checks.check_projection(
        lambda x, y, A, A_dagger: A_dagger(y) + 0 * x
    ),
    "bins-wide": lambda: checks.check_bins(lambda *a: bins(*a, half=1.03)),
    "bins-closed": lambda: checks.check_bins(lambda *a: bins(*a, ends=False)),
    "filter-linear": lambda: checks.check_filter_factors(lambda s, tau, k: 1 - (1 - tau * s) ** k),
    "filter-off-by-one": lambda: checks.check_filter_factors(
        lambda s, tau, k: 1 - (1 - tau * s**2) ** (k - 1)
    ),
    "variance-unbiased": lambda: checks.check_moving_variance(lambda x, w: variance(x, w, 1)),
    "variance-global-mean": lambda: checks.check_moving_variance(
        lambda x, w: (x - x.mean(0)).unfold(0, w, 1).square().mean((1, 2))
    ),
    "field-sum": lambda: checks.check_receptive_field(lambda sizes, strides: sum(sizes)),
    "field-early": lambda: checks.check_receptive_field(lambda *a: field(*a, late=False)),
    "velocity-plus": lambda: checks.check_velocity(lambda x, s, f, g: f * x + g**2 * s / 2),
    "velocity-whole": lambda: checks.check_velocity(lambda x, s, f, g: f * x - g**2 * s),
    "trace-normal": lambda: checks.check_trace(
        lambda pull, x, g: (e := torch.randn(8, generator=g).double()) @ pull(e)
    ),
    "trace-biased": lambda: checks.check_trace(lambda pull, x, g: pull(torch.ones_like(x)).sum()),
    "trivial-sharp": lambda: checks.check_trivial_pair(lambda x, h, blur: (x, identity(h))),
    "trivial-same": lambda: checks.check_trivial_pair(lambda x, h, blur: (x, h)),
    "kernel-convolved": lambda: checks.check_kernel_gradient(
        lambda h, x, y: kernel_gradient(h, x, y).flip(0)
    ),
    "kernel-no-residual": lambda: checks.check_kernel_gradient(
        lambda h, x, y: kernel_gradient(h, x, -y)
    ),
    "slope-all": lambda: checks.check_slope_through_projection(lambda g, p: g - g.mean()),
    "slope-no-mean": lambda: checks.check_slope_through_projection(lambda g, p: g * (p > 0)),
    "bits-no-cell": lambda: checks.check_bits(lambda nats, n, a, b: nats / (n * math.log(2))),
    "bits-one-range": lambda: checks.check_bits(lambda nats, n, a, b: nats / (n * math.log(2)) + 8),
    "wiener-inverse": lambda: checks.check_wiener_limits(
        lambda y, k, s, S: irfft2(rfft2(y) / k, s=y.shape[-2:])
    ),
}


@pytest.mark.parametrize("check", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(check, capsys):
    assert check()
    printed = capsys.readouterr().out
    assert printed.startswith("✓ ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("check", WRONG.values(), ids=WRONG)
def test_wrong_answers_get_a_hint(check, capsys):
    assert not check()
    printed = capsys.readouterr().out
    assert printed.startswith("✗ ")
    assert "Hint " in printed
    assert printed.count("\n") == 1


def test_hints_climb_and_start_again_after_success(capsys):
    RIGHT["heat"]()  # resets the ladder, whatever ran before
    rungs = []
    for check in (WRONG["heat-linear"], WRONG["heat-linear"], WRONG["heat-linear"]):
        check()
        rungs.append(capsys.readouterr().out.split("Hint ")[1][0])
    assert rungs == ["1", "2", "2"]
    RIGHT["heat"]()
    capsys.readouterr()
    WRONG["heat-linear"]()
    assert "Hint 1" in capsys.readouterr().out


def test_an_answer_that_is_not_written_is_no_error(capsys):
    def todo(*_):
        raise NotImplementedError

    assert not checks.check_heat(todo)
    assert capsys.readouterr().out == "○ heat: not written yet.\n"


def test_a_bug_in_the_answer_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        checks.check_heat(lambda *_: 1 / 0)


def test_a_forgotten_return_is_named(capsys):
    assert not checks.check_heat(lambda *_: None)
    assert "is there a `return`?" in capsys.readouterr().out
