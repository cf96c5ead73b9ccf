"""Property checks for the exercises: is the answer right, without a stored answer?

Each check asks for what mathematics promises (an adjoint identity, a vanishing gradient, a limit)
on random images, in double precision where that matters. It prints one line. A wrong answer gets a
hint, and a second wrong answer a stronger one: the ladder starts again once the check passes.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from course_lib.functionals import SmoothedTV
from course_lib.kernels.simplex import project_simplex
from course_lib.operators import Blur
from course_lib.protocols import ImageMap, ImageSize
from course_lib.rng import generator_from

_failures: Counter[str] = Counter()  # how high each check's ladder has been climbed


@dataclass(frozen=True)
class Verdict:
    """What a check found; true if the answer passed. It has printed itself already."""

    passed: bool
    line: str

    def __bool__(self) -> bool:
        return self.passed

    def _ipython_display_(self) -> None:
        """Show nothing more when a check is the last line of a cell."""


class _NoAnswer(Exception):
    """The student's function returned None."""


def _expect_an_answer(argument):
    """A plain function is watched for a forgotten `return`; anything else passes through."""
    if not isinstance(argument, FunctionType | MethodType):
        return argument

    @functools.wraps(argument)
    def watched(*args, **kwargs):
        if (answer := argument(*args, **kwargs)) is None:
            raise _NoAnswer
        return answer

    return watched


def property_check(title: str, *hints: str) -> Callable:
    """Turn a function that returns (passed, finding) into a check with a ladder of hints."""

    def decorate(test: Callable[..., tuple[bool, str]]) -> Callable[..., Verdict]:
        @functools.wraps(test)
        def run(*args, **kwargs) -> Verdict:
            try:
                passed, finding = test(*map(_expect_an_answer, args), **kwargs)
            except NotImplementedError:
                return _say(False, f"○ {title}: not written yet.")
            except _NoAnswer:
                return _say(False, f"✗ {title}: your function returned None; is there a `return`?")
            if passed:
                _failures[title] = 0
                return _say(True, f"✓ {title}: {finding}.")
            rung = min(_failures[title], len(hints) - 1)
            _failures[title] += 1
            return _say(False, f"✗ {title}: {finding}. Hint {rung + 1}: {hints[rung]}")

        return run

    return decorate


@property_check(
    "adjoint",
    "the test is <A x, v> = <x, A^T v>. Does each number of v go back to the pixels it came from?",
    "write A as a matrix for a tiny image; A^T reads the same table by columns. A roll by +k "
    "becomes a roll by -k, a selection of pixels becomes an insertion of zeros.",
)
def check_adjoint(A: ImageMap, A_adjoint: ImageMap, img_size: ImageSize) -> tuple[bool, str]:
    """<A x, v> = <x, A_adjoint v> on random images of shape (1, *img_size)."""
    generator = generator_from(0)
    x = _random(img_size, generator)
    Ax = A(x)
    v = torch.randn(Ax.shape, generator=generator, dtype=x.dtype)
    back = A_adjoint(v)
    if back.shape != x.shape:
        return False, f"A^T v has shape {tuple(back.shape)} instead of {tuple(x.shape)}"
    gap = ((Ax * v).sum() - (x * back).sum()).abs() / (Ax.norm() * v.norm())
    return gap.item() <= 1e-12, f"|<A x, v> - <x, A^T v>| / (|A x| |v|) = {gap.item():.0e}"


@property_check(
    "gradient",
    "compare the terms one by one: f(u + h) = f(u) + <grad f(u), h> + O(|h|^2).",
    "for f(u) = 1/2 |M u - b|^2 the gradient is M^T (M u - b): do not forget the adjoint, and "
    "mind the factor 2 where f has no 1/2. For a sum over pixels of phi(|grad u(x)|) the length is "
    "taken at each pixel: sum(0) over the two differences, not sum().",
)
def check_gradient(
    f: Callable[[Tensor], Tensor], grad: ImageMap, img_size: ImageSize
) -> tuple[bool, str]:
    """grad agrees with automatic differentiation of f at random images."""
    u = _random(img_size, generator_from(0)).requires_grad_()
    (expected,) = torch.autograd.grad(f(u).sum(), u)
    with torch.no_grad():
        found = grad(u)
    if found.shape != u.shape:
        return False, f"the gradient has shape {tuple(found.shape)} instead of {tuple(u.shape)}"
    gap = ((found - expected).norm() / expected.norm()).item()
    return gap <= 1e-10, f"relative distance to the derivative of f is {gap:.0e}"


@property_check(
    "null-space projection",
    "three properties are asked for: A P = 0, P P = P, and <P x, v> = <x, P v>.",
    "what A sees of x is A^+ A x. What is left?",
)
def check_null_projection(P: ImageMap, A: ImageMap, img_size: ImageSize) -> tuple[bool, str]:
    """P is the orthogonal projection on the null space of A (single precision will do)."""
    generator = generator_from(0)
    x, v = (_random(img_size, generator).float() for _ in range(2))
    Px = P(x)
    scale = x.norm()
    unseen = (A(Px).norm() / scale).item()
    again = ((P(Px) - Px).norm() / scale).item()
    symmetric = (((Px * v).sum() - (x * P(v)).sum()).abs() / (scale * v.norm())).item()
    # <x, P x> / |x|^2 is about the share of dimensions that P keeps; A hides at least 1 - m / n.
    kept = ((x * Px).sum() / scale.square()).item()
    hidden = 1 - A(x).numel() / x.numel()
    found = (
        f"|A P x| = {unseen:.0e}, |P P x - P x| = {again:.0e} (times |x|), keeps {kept:.0%} of the "
        f"dimensions where A hides {hidden:.0%}"
    )
    # 1e-5: a few dozen float32 roundings, 6e-8 each. 5 %: one random image is a small sample.
    return max(unseen, again, symmetric) <= 1e-5 and kept >= hidden - 0.05, found


@property_check(
    "noise gain",
    "the noise is white: its expected power is the same, n sigma^2, at each of the n frequencies.",
    "the inverse filter multiplies the power at a frequency by 1 / |k|^2; the variance of a pixel "
    "is sigma^2 times the mean of that factor over all frequencies of the full grid.",
)
def check_noise_gain(predict: Callable[[Tensor, float], float]) -> tuple[bool, str]:
    """predict(transfer, sigma) is the std of F^-1 (F w / transfer), against a simulation.

    `transfer` is the full (H, W) spectrum of a kernel.
    """
    generator = generator_from(0)
    kernel = torch.zeros(48, 40, dtype=torch.float64)
    kernel[0, 0], kernel[0, 1], kernel[1, 0] = 0.6, 0.25, 0.1
    transfer = torch.fft.fft2(kernel)
    noise = 0.02 * torch.randn(400, 48, 40, generator=generator, dtype=torch.float64)
    measured = torch.fft.ifft2(torch.fft.fft2(noise) / transfer).real.std().item()
    predicted = float(predict(transfer, 0.02))
    # 768000 correlated pixels: the measured std has a relative error well below 1 %.
    close = abs(predicted - measured) <= 0.01 * measured
    return close, f"predicted {predicted:.4f}, measured {measured:.4f}"


@property_check(
    "step bound",
    "the largest eigenvalue of the Hessian decides: a step below 2 / L contracts every mode.",
    "here the Hessian is A^T A + 2 lam (-Laplacian); with a kernel of sum 1 and even sides the two "
    "maxima sit at different frequencies, so take the maximum of the sum, not the sum of maxima.",
)
def check_step_bound(
    find_bound: Callable[[], float], hvp: ImageMap, img_size: ImageSize
) -> tuple[bool, str]:
    """u <- u - tau hvp(u) contracts at 0.999 of the bound and grows at 1.001 of it."""
    bound, growth = float(find_bound()), {}
    for factor in (0.999, 1.001):
        u = _random(img_size, generator_from(0))
        for _ in range(4000):
            new = u - factor * bound * hvp(u)
            ratio = (new.norm() / u.norm()).item()
            u = new / new.norm()
        growth[factor] = ratio
    found = " and ".join(f"{g:.4f} per step at {f} of your bound" for f, g in growth.items())
    return growth[0.999] <= 1 + 1e-9 and growth[
        1.001
    ] > 1, f"the worst mode is multiplied by {found}"


@property_check(
    "minimiser",
    "at a minimiser the gradient of the functional vanishes. Solve grad f(u) = 0 for F u.",
    "F u = conj(k) F y / (|k|^2 + 2 lam L): check the conjugate, and the factor 2 that comes from "
    "the gradient of lam |grad u|^2.",
)
def check_minimiser(f, minimise: Callable[[], Tensor]) -> tuple[bool, str]:
    """grad f(x) = 0 at x = minimise(), up to rounding, compared with the gradient at zero."""
    x = minimise()
    relative = (f.grad(x).norm() / f.grad(torch.zeros_like(x)).norm()).item()
    bound = 1e-10 if x.dtype == torch.float64 else 1e-4  # some hundred roundings
    return relative <= bound, f"|grad f(x)| / |grad f(0)| = {relative:.0e}"


@property_check(
    "residual",
    "the residual |A u - y| grows with lam: too small a residual means that noise was fitted.",
    "search on log lam by bisection until |A u - y|^2 = n sigma^2, n the number of pixels.",
)
def check_residual(residual: Callable[[], Tensor], sigma: float) -> tuple[bool, str]:
    """The residual A u - y has the size of the noise, to 1 %."""
    ratio = residual().square().mean().sqrt().item() / sigma
    return abs(ratio - 1) <= 0.01, f"rms of A u - y is {ratio:.3f} sigma"


@property_check(
    "heat",
    "one step multiplies the mode of symbol L by 1 - 2 tau L. What do n steps do?",
    "F u_n = (1 - 2 tau L)^n F u_0, with L = laplacian_symbol(size) on the half spectrum of rfft2.",
)
def check_heat(heat: Callable[[Tensor, float, int], Tensor]) -> tuple[bool, str]:
    """heat(u, tau, n) equals n explicit steps u <- u + 2 tau Laplacian u, and keeps the mean."""
    u = _random((1, 12, 15), generator_from(0))
    v, tau, n = u, 0.11, 25
    for _ in range(n):
        neighbours = v.roll(1, -2) + v.roll(-1, -2) + v.roll(1, -1) + v.roll(-1, -1)
        v = v + 2 * tau * (neighbours - 4 * v)
    gap = ((heat(u, tau, n) - v).norm() / v.norm()).item()
    return gap <= 1e-12, f"distance to {n} explicit steps is {gap:.0e}"


@property_check(
    "Wiener limits",
    "no noise: invert; endless noise: give up. In between compare the power of the image with that "
    "of the noise at one frequency: what is E |F w|^2 for n pixels of white noise?",
    "the filter is conj(k) / (|k|^2 + sigma^2 n / S), n = H W, and irfft2 needs the size s=.",
)
def check_wiener_limits(
    restore: Callable[[Tensor, Tensor, float, Tensor], Tensor],
) -> tuple[bool, str]:
    """restore(y, transfer, sigma, S) inverts as sigma -> 0, vanishes as sigma -> infinity, and has
    the least error among its neighbours for an image of power spectrum S."""
    generator = generator_from(0)
    size = (32, 27)
    S = 1 / (1e-3 + torch.fft.fftfreq(32).square()[:, None] + torch.fft.rfftfreq(27).square())
    S = S.double()
    transfer = torch.fft.rfft2(
        torch.zeros(size, dtype=torch.float64).index_put(
            (torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])),
            torch.tensor([0.7, 0.2, 0.1]).double(),
        )
    )
    white = torch.randn(200, 1, *size, generator=generator, dtype=torch.float64)
    x = torch.fft.irfft2((S / white[0].numel()).sqrt() * torch.fft.rfft2(white), s=size)
    clean = torch.fft.irfft2(transfer * torch.fft.rfft2(x), s=size)
    sigma = clean.std().item()
    y = clean + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    inverts = ((restore(clean, transfer, 1e-9, S) - x).norm() / x.norm()).item()
    vanishes = (restore(y, transfer, 1e9, S).norm() / x.norm()).item()
    errors = {f: (restore(y, transfer, f * sigma, S) - x).norm() for f in (0.8, 1.0, 1.25)}
    best = min(errors, key=errors.get)
    found = f"error {inverts:.0e} without noise, size {vanishes:.0e} with endless noise"
    return inverts < 1e-6 and vanishes < 1e-6 and best == 1.0, (
        f"{found}, least error at {best:g} sigma"
    )


@property_check(
    "equal error",
    "PSNR = 20 log10(1 / rmse): which rmse belongs to the level?",
    "the rmse of x + t d is t times the rms of d; solve for t.",
)
def check_equal_error(
    at_level: Callable[[Tensor, Tensor, float], Tensor],
) -> tuple[bool, str]:
    """at_level(x, d, level) has this PSNR (dB), and lies on the ray from x along d."""
    generator = generator_from(0)
    x, d = (_random((1, 15, 12), generator) for _ in range(2))
    gaps, slopes = [], []
    for level in (10.0, 22.0, 31.5):
        step = at_level(x, d, level) - x
        gaps.append(abs(-10 * step.square().mean().log10().item() - level))
        slopes.append(((step * d).sum() / (step.norm() * d.norm())).item())
    found = f"PSNR is off by at most {max(gaps):.0e} dB, cosine with d {min(slopes):.3f}"
    return max(gaps) <= 1e-9 and min(slopes) >= 1 - 1e-12, found


@property_check(
    "coverage",
    "the samples' mean and the interval come from the same samples: both corrections are needed.",
    "sort |x_s - mean| over s, take entry number ceil(alpha (S + 1)) counted from 1, and multiply "
    "by sqrt((S + 1) / (S - 1)).",
)
def check_coverage(
    coverage: Callable[[Tensor, Tensor, float], float],
) -> tuple[bool, str]:
    """coverage(samples (S, n), truth (n,), alpha) is alpha for a perfect posterior with S = 20."""
    draws = torch.randn(21, 200_000, generator=generator_from(0), dtype=torch.float64)
    found = {alpha: float(coverage(draws[1:], draws[0], alpha)) for alpha in (0.5, 0.8, 0.9)}
    # 200000 pixels: standard error 0.001. The rank is a whole number, hence up to 1 / 21 more.
    passed = all(alpha - 0.01 <= value <= alpha + 0.06 for alpha, value in found.items())
    # Samples -2, ..., 2 for every pixel: the rank is 3, the half width sqrt(6 / 4).
    five = torch.arange(-2.0, 3).double()[:, None].expand(5, 80_001)
    uniform = torch.linspace(-4, 4, 80_001).double()
    passed &= abs(float(coverage(five, uniform, 0.5)) - 1.5**0.5 / 4) <= 1e-3
    values = ", ".join(f"{value:.3f} for {alpha}" for alpha, value in found.items())
    return passed, f"a perfect posterior with 20 samples is covered {values}"


@property_check(
    "energy score",
    "two terms: closeness to the truth, minus half the mean distance of two different samples.",
    "the second sum runs over s != s', S (S - 1) ordered pairs; it carries the factor 1/2.",
)
def check_energy_score(score: Callable[[Tensor, Tensor], float]) -> tuple[bool, str]:
    """Samples of the true law score better than shifted, narrow and wide ones, on average."""
    draws = torch.randn(300, 9, 6, generator=generator_from(0), dtype=torch.float64)
    forecasts = {
        "true": draws[:, 1:],
        "shifted": draws[:, 1:] + 0.5,
        "narrow": 0.4 * draws[:, 1:],
        "wide": 1.8 * draws[:, 1:],
    }
    means = {
        name: sum(map(float, map(score, samples, draws[:, 0]))) / len(draws)
        for name, samples in forecasts.items()
    }
    # Without samples that differ, the score is the distance: 6 coordinates, the first one 1 off.
    exact = float(score(torch.zeros(4, 6).double(), torch.eye(6)[0].double()))
    # Two samples, 2 apart, the truth on one of them: (0 + 2) / 2 - 2 / 2 = 0.
    pair = torch.tensor([[0.0], [2.0]]).double()
    exact -= float(score(pair, pair[0]))
    best = min(means, key=means.get)
    values = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return best == "true" and abs(exact - 1) <= 1e-12, f"mean scores: {values}"


@property_check(
    "rate",
    "each latent costs 1/2 (m^2 + s^2 - 1 - log s^2) nats; the network hands you log s.",
    "sum over the latents of an image, not the mean, and not over the batch.",
)
def check_rate(rate: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """rate(mean, log_std) is KL(N(mean, exp(2 log_std)) || N(0, I)), one value an image."""
    mean = torch.randn(4, 3, 2, generator=generator_from(0), dtype=torch.float64)
    log_std = 0.5 * torch.randn(4, 3, 2, generator=generator_from(1), dtype=torch.float64)
    found = rate(mean, log_std)
    if found.shape != (4,):
        return False, f"the answer has shape {tuple(found.shape)} instead of (4,)"
    draw = torch.randn(20_000, 4, 3, 2, generator=generator_from(2), dtype=torch.float64)
    z = mean + log_std.exp() * draw
    log_ratio = 0.5 * z.square() - 0.5 * draw.square() - log_std  # log q(z) - log p(z)
    sampled = log_ratio.flatten(2).sum(2)
    spread = 5 * sampled.std(0) / len(sampled) ** 0.5  # five standard errors
    close = ((sampled.mean(0) - found).abs() <= spread).all()
    zero = rate(torch.zeros_like(mean), torch.zeros_like(mean)).abs().max().item()
    gap = (sampled.mean(0) - found).abs().max().item()
    finding = f"{gap:.2f} nats from 20000 draws of log q - log p, {zero:.0e} where q is the prior"
    return bool(close) and zero <= 1e-12, finding


@property_check(
    "loss in nats",
    "log N(x; D, s^2 I) has three terms: the squared error, n log s, and a constant.",
    "n mse / (2 s^2) + n log s + n/2 log(2 pi) + rate. The error is a sum over pixels here.",
)
def check_loss_in_nats(
    loss: Callable[[float, float, int, float], float],
) -> tuple[bool, str]:
    """loss(mse, rate, n, s) is minus the ELBO of an image of n numbers with decoder noise s."""
    error = 0.3 * torch.randn(50, generator=generator_from(0), dtype=torch.float64)
    gaps = []
    for s in (0.1, 0.7, 45.0):
        normal = torch.distributions.Normal(0.0, torch.tensor(s, dtype=torch.float64))
        expected = 12.5 - normal.log_prob(error).sum().item()
        gaps.append(abs(float(loss(error.square().mean().item(), 12.5, 50, s)) - expected))
    return max(gaps) <= 1e-8, f"at most {max(gaps):.0e} nats from the density of torch"


@property_check(
    "picture for the screen",
    "what is the range of the numbers, where are the channels, and what does uint8 do to 256?",
    "map [-1, 1] to [0, 255], clamp before the conversion (uint8 wraps around), round instead of "
    "cutting off, and move the channels last.",
)
def check_to_display(to_display: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """to_display((C, H, W) in about [-1, 1]) is (H, W, C) uint8 that any viewer shows."""
    x = torch.linspace(-1.2, 1.2, 3 * 4 * 5).view(3, 4, 5)
    shown = torch.as_tensor(to_display(x))
    if shown.shape != (4, 5, 3):
        return False, f"the answer has shape {tuple(shown.shape)} instead of (4, 5, 3)"
    if shown.dtype != torch.uint8:
        return False, f"the answer has the type {shown.dtype} instead of uint8"
    exact = ((x.clamp(-1, 1) + 1) * 127.5).movedim(0, -1)
    gap = (shown.float() - exact).abs().max().item()
    return gap <= 0.5 + 1e-4, f"at most {gap:.2f} grey levels from the truth, extremes included"


@property_check(
    "attention past a hole",
    "a position inside the hole must not be listened to: its column is 0 after the softmax.",
    "mask the scores with -inf before the softmax: then the rest of each row sums to 1 by itself. "
    "Where everything is a hole the softmax of a row of -inf is nan: make it 0.",
)
def check_attention(attention: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """attention(scores (N, N), lost (N,) bool) has rows that sum to 1 over valid columns."""
    scores = torch.randn(7, 7, generator=generator_from(0), dtype=torch.float64)
    lost = torch.tensor([False, True, False, False, True, False, False])
    weights = attention(scores, lost)
    leak = weights[:, lost].abs().max().item()
    rows = (weights.sum(1) - 1).abs().max().item()
    plain = scores[:, ~lost].softmax(1)
    gap = (weights[:, ~lost] - plain).abs().max().item()
    nothing = attention(scores, torch.ones_like(lost))
    finite = bool((nothing == 0).all())
    finding = f"leak {leak:.0e}, rows off by {rows:.0e}, "
    finding += "zeros if all is lost" if finite else "not zero if all is lost"
    return max(leak, rows, gap) <= 1e-12 and finite, finding


@property_check(
    "nearest image of a model",
    "what varies is the latent: minimise |A (c + W z) - y| over z, a small least-squares problem.",
    "z = (A W)^+ (y - A c), then x = c + W z; the pseudo-inverse of A alone knows nothing of W.",
)
def check_nearest_in_model(
    nearest: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """nearest(A (m, n), W (n, k), c (n,), y (m,)) minimises |A x - y| over x = c + W z."""
    generator = generator_from(0)
    A, W, c, y = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((9, 20), (20, 4), (20,), (9,))
    )
    x = nearest(A, W, c, y)
    if x.shape != c.shape:
        return False, f"the answer has shape {tuple(x.shape)} instead of {tuple(c.shape)}"
    outside = (x - c) - W @ torch.linalg.lstsq(W, (x - c)[:, None]).solution[:, 0]
    slope = (A @ W).T @ (A @ x - y)
    finding = f"distance {outside.norm():.0e} from the model, slope {slope.norm():.0e} within it"
    return max(outside.norm().item(), slope.norm().item()) <= 1e-8, finding


@property_check(
    "weight of the prior",
    "multiply mean(r^2) + lam |z|^2 by a number that turns its first term into |r|^2/(2 sigma^2).",
    "that number is m / (2 sigma^2); what it makes of lam |z|^2 must be w / 2 |z|^2.",
)
def check_latent_weight(weight: Callable[[float, int, float], float]) -> tuple[bool, str]:
    """weight(lam, m, sigma) is the w with which both objectives have the same minimisers."""
    generator = generator_from(0)
    gaps = []
    for lam, m, sigma in ((0.1, 12, 0.3), (1e-3, 40, 0.05)):
        A = torch.randn(m, 5, generator=generator, dtype=torch.float64)
        y = torch.randn(m, generator=generator, dtype=torch.float64)
        eye = torch.eye(5, dtype=torch.float64)
        mean = torch.linalg.solve(A.T @ A / m + lam * eye, A.T @ y / m)
        found = float(weight(lam, m, sigma))
        bayes = torch.linalg.solve(A.T @ A / sigma**2 + found * eye, A.T @ y / sigma**2)
        gaps.append((mean - bayes).norm().item() / mean.norm().item())
    return max(gaps) <= 1e-10, f"the two minimisers differ by {max(gaps):.0e}"


@property_check(
    "noise that z must bear",
    "y - A G(z) is a sum of two independent terms, A (x - G(z)) and the noise of the sensor.",
    "their variances add: sigma^2 + std^2 |A|_F^2 / m, averaged over the m measurements; then the "
    "square root.",
)
def check_effective_noise(
    effective_noise: Callable[[Tensor, float, float], float],
) -> tuple[bool, str]:
    """effective_noise(A (m, n), sigma, std) is the rms of A e + w, with e of std and w of sigma."""
    generator = generator_from(0)
    gaps = []
    for m, n, sigma, std in ((6, 30, 0.2, 0.1), (30, 6, 0.05, 0.3)):
        A = torch.randn(m, n, generator=generator, dtype=torch.float64) / m**0.5
        e = std * torch.randn(n, 40_000, generator=generator, dtype=torch.float64)
        w = sigma * torch.randn(m, 40_000, generator=generator, dtype=torch.float64)
        drawn = (A @ e + w).square().mean().sqrt().item()
        gaps.append(abs(float(effective_noise(A, sigma, std)) / drawn - 1))
    # 240,000 squares or more, of which 6 x 40,000 independent: 0.2% standard error.
    return max(gaps) <= 0.01, f"within {100 * max(gaps):.1f}% of 40000 draws"


@property_check(
    "the x-step",
    "for a mask the problem falls apart into one parabola for each pixel.",
    "seen pixels: the mean of y and G(z), weighted by 1 / sigma^2 and 1 / std^2; unseen: G(z).",
)
def check_x_step(
    x_step: Callable[[Tensor, Tensor, Tensor, float, float], Tensor],
) -> tuple[bool, str]:
    """x_step(y, mask, generated, sigma, std) minimises J over the image, for inpainting."""
    generator = generator_from(0)
    y, generated = (
        torch.rand(1, 1, 6, 5, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    mask = (torch.rand(1, 1, 6, 5, generator=generator) < 0.5).double()
    worst = 0.0
    for sigma, std in ((0.1, 0.3), (0.5, 0.05)):
        x = x_step(mask * y, mask, generated, sigma, std)
        if x.shape != y.shape:
            return False, f"the answer has shape {tuple(x.shape)} instead of {tuple(y.shape)}"
        slope = mask * (x - y) / sigma**2 + (x - generated) / std**2
        worst = max(worst, slope.abs().max().item())
    return worst <= 1e-8, f"the gradient of J over x is {worst:.0e}"


@property_check(
    "the price of a group",
    "for one number: log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2.",
    "sum over all latents of an image: flatten(1).sum(1); the order of q and p matters.",
)
def check_group_price(
    price: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """price(m_q, log_s_q, m_p, log_s_p) is KL(q || p) of diagonal Gaussians, nats an image."""
    generator = generator_from(0)
    shape = (2, 3, 2, 2)
    m_q, m_p = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    l_q, l_p = (
        0.3 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    found = price(m_q, l_q, m_p, l_p)
    if tuple(found.shape) != (2,):
        return False, f"the answer has shape {tuple(found.shape)} instead of (2,)"
    q, p = (torch.distributions.Normal(m, s.exp()) for m, s in ((m_q, l_q), (m_p, l_p)))
    exact = torch.distributions.kl_divergence(q, p).flatten(1).sum(1)
    gap = (found - exact).abs().max().item()
    return gap <= 1e-10, f"within {gap:.0e} nats of torch's own divergence"


@property_check(
    "the projection",
    "only A^+ turns a misfit of measurements into a change of images.",
    "subtract the image whose measurement is the misfit A x - y.",
)
def check_projection(
    project: Callable[[Tensor, Tensor, ImageMap, ImageMap], Tensor],
) -> tuple[bool, str]:
    """project(x, y, A, A_dagger) is the nearest image to x that is measured as y."""
    generator = generator_from(0)
    matrix, x, truth = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 12), (5, 12), (5, 12))
    )
    inverse = torch.linalg.pinv(matrix)
    y = truth @ matrix.T
    found = project(x, y, lambda u: u @ matrix.T, lambda v: v @ inverse.T)
    if found.shape != x.shape:
        return False, f"the answer has shape {tuple(found.shape)} instead of {tuple(x.shape)}"
    misfit = (found @ matrix.T - y).abs().max().item()
    if misfit > 1e-9:
        return False, f"its measurement is {misfit:.0e} away from y"
    moved, left, start = (d.square().sum(1) for d in (found - x, found - truth, x - truth))
    gap = (start - moved - left).abs().max().item()
    return gap <= 1e-9, f"consistent, and Pythagoras holds within {gap:.0e}"


@property_check(
    "bins of a logistic law",
    "a bin's probability is a difference of two sigmoids, of (end - mean) / scale.",
    "the bins are as wide as levels are apart; the first and the last reach to infinity.",
)
def check_bins(bins: Callable[[float, float, int], Tensor]) -> tuple[bool, str]:
    """bins(mean, scale, levels) are the probabilities of `levels` evenly spaced ones on [-1, 1]."""
    worst = 0.0
    for mean, scale, n in ((0.2, 0.3, 4), (-1.2, 0.05, 8), (0.9, 0.02, 32)):
        found = bins(mean, scale, n)
        if tuple(found.shape) != (n,):
            return False, f"the answer has shape {tuple(found.shape)} instead of ({n},)"
        inner = -1 + (2 * torch.arange(n - 1, dtype=torch.float64) + 1) / (n - 1)
        upto = torch.sigmoid((inner - mean) / scale)
        exact = torch.diff(upto, prepend=torch.zeros(1).double(), append=torch.ones(1).double())
        worst = max(worst, (found - exact).abs().max().item())
    return worst <= 1e-6, f"within {worst:.0e} of the exact probabilities, which sum to 1"


@property_check(
    "filter factors",
    "along one singular value the iteration is theta <- theta - tau s (s theta - c): solve it.",
    "the error shrinks by (1 - tau s^2) in each step, and starts at 1.",
)
def check_filter_factors(factor: Callable[[Tensor, float, int], Tensor]) -> tuple[bool, str]:
    """factor(s, tau, k) is the part of u_i^T y that k steps on |M theta - y|^2 / 2 let through."""
    generator = generator_from(0)
    M = torch.randn(6, 9, generator=generator, dtype=torch.float64) / 3
    y = torch.randn(6, generator=generator, dtype=torch.float64)
    U, s, _ = torch.linalg.svd(M, full_matrices=False)
    tau, theta, gaps = 1 / s[0].item() ** 2, torch.zeros(9, dtype=torch.float64), []
    for k in range(1, 41):
        theta = theta - tau * M.T @ (M @ theta - y)
        found = torch.as_tensor(factor(s, tau, k))
        if found.shape != s.shape:
            return False, f"the answer has shape {tuple(found.shape)} instead of {tuple(s.shape)}"
        gaps.append((U @ (found * (U.T @ y)) - M @ theta).norm().item())
    return max(gaps) <= 1e-10, f"at most {max(gaps):.0e} from 40 steps of descent"


@property_check(
    "moving variance",
    "each window has a mean of its own; take squares about that one.",
    "divide by w (not w - 1), then average over the pixels; the first window ends at step w.",
)
def check_moving_variance(variance: Callable[[Tensor, int], Tensor]) -> tuple[bool, str]:
    """variance(x (steps, pixels), w) is the mean over pixels of the variance in each window."""
    x = torch.randn(12, 7, generator=generator_from(0), dtype=torch.float64)
    found = variance(x, 5)
    if found.shape != (8,):
        return False, f"the answer has shape {tuple(found.shape)} instead of (8,)"
    # The variance is half the mean squared distance of two members of the window.
    pairs = torch.stack(
        [torch.cdist(x[i : i + 5], x[i : i + 5]).square().mean() / 14 for i in range(8)]
    )
    gap = (found - pairs).abs().max().item()
    shift = (variance(x + 3.0, 5) - found).abs().max().item()
    return max(gap, shift) <= 1e-10, f"{gap:.0e} from half the mean squared distance of pairs"


@property_check(
    "receptive field",
    "one layer of k pixels sees k; the next one sees k - 1 more of *its* pixels on top.",
    "a stride s makes the pixels of all later layers s input pixels apart.",
)
def check_receptive_field(
    receptive_field: Callable[[list[int], list[int]], int],
) -> tuple[bool, str]:
    """receptive_field(sizes, strides) counts the input pixels behind one output number."""
    wrong = {}
    for sizes, strides in (
        ([3], [1]),
        ([3] * 5, [1] * 5),
        ([4, 4, 4], [2, 2, 1]),
        ([5, 3, 3], [1, 2, 1]),
        ([4, 4, 4, 4, 4], [2, 2, 2, 1, 1]),
    ):
        x = torch.ones(1, 1, 200, requires_grad=True)
        out = x
        for size, stride in zip(sizes, strides, strict=True):
            out = torch.nn.functional.conv1d(out, torch.ones(1, 1, size), stride=stride)
        (slope,) = torch.autograd.grad(out[0, 0, out.shape[-1] // 2], x)
        if (seen := int((slope != 0).sum())) != (found := receptive_field(sizes, strides)):
            wrong[f"{sizes}, strides {strides}"] = f"{found} instead of {seen}"
    if wrong:
        return False, "; ".join(f"{stack}: {words}" for stack, words in wrong.items())
    return True, "five stacks of layers agree with the support of their gradients"


@property_check(
    "log density",
    "det(L L^T) is the square of det L, and L is triangular: a product of n numbers.",
    "r^T L L^T r = |L^T r|^2, and n/2 log(2 pi) is part of the density.",
)
def check_log_density(log_density: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """log_density(L (n, n), r (n,)) is log N(r; 0, (L L^T)^-1), nats."""
    generator = generator_from(0)
    L = torch.randn(7, 7, generator=generator, dtype=torch.float64).tril(-1)
    L = L + torch.diag(1 + torch.rand(7, generator=generator, dtype=torch.float64))
    r = torch.randn(7, generator=generator, dtype=torch.float64)
    law = MultivariateNormal(torch.zeros_like(r), precision_matrix=L @ L.T)
    gap = abs(float(log_density(L, r)) - law.log_prob(r).item())
    return gap <= 1e-9, f"off by {gap:.0e} nats"


@property_check(
    "divergence of the scales",
    "1/2 (tr(S_p^-1 S_q) - n + log det S_p - log det S_q): what is left of L in each term?",
    "each pixel costs 1/2 (b^2 - 1 - 2 log b), and nothing at b = 1.",
)
def check_image_divergence(divergence: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """divergence(b (n,)) is KL(N(0, L^-T diag(b^2) L^-1) || N(0, L^-T L^-1)) for every L."""
    generator = generator_from(0)
    b = 0.2 + torch.rand(6, generator=generator, dtype=torch.float64)
    L = torch.randn(6, 6, generator=generator, dtype=torch.float64).tril(-1)
    root = torch.linalg.inv(L + 2 * torch.eye(6, dtype=torch.float64)).T
    q, p = (
        MultivariateNormal(torch.zeros_like(b), (root * scale) @ (root * scale).T)
        for scale in (b, torch.ones_like(b))
    )
    gap = abs(float(divergence(b)) - kl_divergence(q, p).item())
    return gap <= 1e-9, f"off by {gap:.0e} nats"


@property_check(
    "mean-field deviation",
    "the divergence is least where the gradient with respect to each a_j vanishes; it has "
    "a_j^2 Lambda_jj / 2 - log a_j.",
    "an inverse of the diagonal, not the diagonal of an inverse.",
)
def check_mean_field_scale(scale: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """scale(Lambda (n, n)) minimises KL(N(0, diag a^2) || N(0, Lambda^-1)) over a."""
    root = torch.randn(5, 5, generator=generator_from(0), dtype=torch.float64)
    precision = root @ root.T + 0.1 * torch.eye(5, dtype=torch.float64)
    a = scale(precision).double()
    if a.shape != (5,):
        return False, f"the answer has shape {tuple(a.shape)} instead of (5,)"
    slope = a * precision.diagonal() - 1 / a  # of the divergence
    exact = torch.linalg.inv(precision).diagonal().sqrt()
    finding = (
        f"slope {slope.abs().max():.0e}; the exact deviations are up to {(exact / a).max():.1f} "
        "times larger"
    )
    return slope.abs().max().item() <= 1e-9, finding


@property_check(
    "velocity of the flow",
    "noise grows with time: on the way up, images must move away from where they are likely.",
    "half of g^2 times the score, with a minus: the bracket of Fokker and Planck's equation.",
)
def check_velocity(
    velocity: Callable[[Tensor, Tensor, float, float], Tensor],
) -> tuple[bool, str]:
    """velocity(x, score, f, g): followed from N(0, S) it gives the variances of the equation.

    With drift f x and diffusion g they obey dh/dt = 2 f h + g^2, and the score is -x / h.
    """
    x = torch.randn(5000, generator=generator_from(0), dtype=torch.float64)
    x, steps, f, g = 0.5 * (x - x.mean()) / x.std(), 2000, -0.3, 0.8
    h = 0.25
    for _ in range(steps):
        x = x + velocity(x, -x / h, f, g) / steps
        h += (2 * f * h + g**2) / steps
    gap = abs(x.var().item() / h - 1)
    # Euler's method at 2000 steps, for the samples and for h
    return gap <= 0.005, f"variance {x.var().item():.4f} after a unit of time, expected {h:.4f}"


@property_check(
    "trace",
    "E e^T J e = tr J needs E e e^T = I; the product J^T e comes from `pull`.",
    "random signs: their squares are 1, so a diagonal J is answered without any error.",
)
def check_trace(
    trace: Callable[[Callable[[Tensor], Tensor], Tensor, torch.Generator], Tensor],
) -> tuple[bool, str]:
    """trace(pull, x, generator) estimates tr J from one product pull(e) = J^T e, e like x (n,)."""
    generator = generator_from(0)
    x = torch.zeros(8, dtype=torch.float64)
    diagonal = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    exact = trace(lambda e: diagonal * e, x, generator)
    if abs(float(exact) - diagonal.sum().item()) > 1e-9:
        return False, f"{float(exact):.3f} for a diagonal J of trace {diagonal.sum().item():.3f}"
    J = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    draws = torch.stack([trace(lambda e: J.T @ e, x, generator) for _ in range(4000)])
    both = (J + J.T) / 2
    spread = (2 * (both.square().sum() - both.diagonal().square().sum())).sqrt().item()
    gap = abs(draws.mean().item() - J.trace().item())
    # 4.5 standard errors of 4000 draws
    return gap <= 4.5 * spread / 4000**0.5, f"mean of 4000 draws off by {gap:.3f}"


@property_check(
    "bits",
    "a grey level is a cell: its probability is the density times the cell's size, in each pixel.",
    "a cell has the side (high - low) / 256; nats become bits by a division by log 2.",
)
def check_bits(bits: Callable[[float, int, float, float], float]) -> tuple[bool, str]:
    """bits(nats, n, low, high) per dimension, for a density of images in [low, high]^n."""
    n = 12
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        uniform = n * math.log(high - low)  # -log of the uniform density
        for nats, expected in ((uniform, 8.0), (uniform - n * math.log(2), 7.0)):
            found = float(bits(nats, n, low, high))
            if abs(found - expected) > 1e-9:
                where = f"[{low:g}, {high:g}]"
                return False, f"{found:.3f} instead of {expected:.0f} for a density on {where}"
    return True, "8 for uniform noise in three ranges, one less where the density doubles"


@property_check(
    "trivial pair",
    "which kernel changes nothing? Then which image has the same misfit as x under h?",
    "(h * x, identity): blurred by the identity it is h * x, and blur lowers the potential.",
)
def check_trivial_pair(
    trivial: Callable[[Tensor, Tensor, ImageMap], tuple[Tensor, Tensor]],
) -> tuple[bool, str]:
    """trivial(x, h, blur), with blur(x) = h * x: a pair (x', h') that F never likes less."""
    generator = generator_from(0)
    x = torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    h = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    h = h / h.sum()
    image, kernel = trivial(x, h, Blur(h, (1, 8, 8)).A)
    if image.shape != x.shape or kernel.shape != h.shape:
        shapes = f"{tuple(image.shape)} and {tuple(kernel.shape)}"
        return False, f"the answers have shapes {shapes}, not those of x and h"
    if kernel.min() < 0 or abs(kernel.sum().item() - 1) > 1e-9:
        return False, "the kernel is not in the simplex"
    change = Blur(kernel, (1, 8, 8)).A(image) - Blur(h, (1, 8, 8)).A(x)
    tv = SmoothedTV(1.0, 0.01)
    if change.abs().max() > 1e-9:
        return False, f"h' * x' differs from h * x by {change.abs().max().item():.0e}"
    drop = (tv(x) - tv(image)).item()
    return drop > 0.1, f"the same misfit, and total variation falls by {drop:.2f}"


@property_check(
    "kernel gradient",
    "the misfit is linear least squares in h: which matrix takes h to h * x?",
    "its columns are the translates x(. - t); so each tap has sum over p of x(p - t) r(p).",
)
def check_kernel_gradient(
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """gradient(h, x, y) of |h * x - y|^2 / 2, for signals (n,) and taps h(-1), h(0), h(1)."""
    generator = generator_from(0)
    x, y = torch.rand(2, 9, generator=generator, dtype=torch.float64)
    h = torch.rand(3, generator=generator, dtype=torch.float64).requires_grad_()
    blurred = sum(h[t] * x.roll(t - 1) for t in range(3))
    (expected,) = torch.autograd.grad((blurred - y).square().sum() / 2, h)
    found = gradient(h.detach(), x, y)
    if found.shape != h.shape:
        return False, f"the answer has shape {tuple(found.shape)} instead of (3,)"
    gap = (found - expected).abs().max().item()
    return gap <= 1e-10, f"{gap:.0e} from automatic differentiation"


@property_check(
    "slope through the projection",
    "P(v) = (v - tau)_+ : which entries of v does it depend on?",
    "on the support, v loses its mean: P' = I - 1 1^T / |S| there, and 0 elsewhere.",
)
def check_slope_through_projection(
    slope: Callable[[Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """slope(g, p) is P'(v)^T g, from g (n,) and the projection p = P(v)."""
    generator, worst = generator_from(0), 0.0
    for scale in (0.1, 0.5, 2.0):
        v = scale * torch.randn(8, generator=generator, dtype=torch.float64)
        g = torch.randn(8, generator=generator, dtype=torch.float64)
        v.requires_grad_()
        p = project_simplex(v)
        (expected,) = torch.autograd.grad(p @ g, v)
        found = slope(g, p.detach())
        if found.shape != g.shape:
            return False, f"the answer has shape {tuple(found.shape)} instead of (8,)"
        worst = max(worst, (found - expected).abs().max().item())
    return worst <= 1e-10, f"{worst:.0e} from automatic differentiation, on three supports"


def _say(passed: bool, line: str) -> Verdict:
    print(line)
    return Verdict(passed, line)


def _random(img_size: ImageSize, generator: torch.Generator) -> Tensor:
    return torch.randn(1, *img_size, generator=generator, dtype=torch.float64)
