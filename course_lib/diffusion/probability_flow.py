r"""Log-likelihood of an image under a diffusion model, by the probability-flow equation.

Along dx / d log sigma = x - D(x, sigma) the density changes by minus the divergence,

    log p_0(x_0) = log p_T(x_T) + integral of div dt          (the change of variables),

where p_0 is the distribution at the least noise level, sigma_min, and p_T a broad Gaussian. Both
are compared here with a Gaussian reference N(m, v I), whose denoiser D_ref(x, sigma) =
m + v (x - m) / (v + sigma^2) takes the linear part of the equation with it: in the whitened image
y = (x - m) / sqrt(v + sigma^2),

    dy / d log sigma = -(D - D_ref) / sqrt(v + sigma^2),
    -log p(x) = |y_T|^2 / 2 + n/2 log(2 pi (v + sigma_min^2)) + integral of tr d(D - D_ref)/dx,

the potential of a Gaussian, with the transported image, and a correction. The time
u = log sigma - log(1 + sigma^2 / s^2) / 2, with s^2 = n v the largest variance that one direction
of images of n numbers can have, stretches the range of sigma in which the image changes, so that
few and equal steps are enough.

The image moves without the trace, so that the integral of the trace may be left to a quadrature
(`GaussLegendre`) with far fewer nodes than a solver has stages.

Source: Song et al. 2021, arXiv:2011.13456, section 4.3; Grathwohl et al. 2019, arXiv:1810.01367.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from tqdm import tqdm

from course_lib.batch import inner, per_image
from course_lib.diffusion.quadrature import GaussLegendre
from course_lib.diffusion.runge_kutta import AdaptiveSteps, Integration, integrate
from course_lib.diffusion.schedules import Denoiser
from course_lib.diffusion.trace import (
    Hutchinson,
    Probing,
    Trace,
    choose_trace,
    denoise_with_trace,
)
from course_lib.metrics.images import check_images

SIGMA_MIN, SIGMA_MAX = 0.001, 80.0  # images in [0, 1]; the published 0.002 is for [-1, 1]


@dataclass(frozen=True)
class PotentialEstimate:
    """Potentials of a batch, with what is known of their errors.

    Args:
        value: -log p(x) at noise level sigma_min, nats per image, for images in [0, 1].
        by_probe: the same for each probe alone; `value` is their mean.
        integration_error: effect on the potential of the differences between the orders 5 and 4 of
            the solver, to first order, added up over the steps, nats per image. Above the error of
            `value` if the denoiser is smooth in x and in log(sigma) on the scale of a step; for
            networks and few steps, of its size (chapter 13 measures the ratio). With a quadrature
            of the trace, that of the image's path alone.
        latent: the whitened image y_T, N(0, I) if x is a sample of the model.
        evaluations: number of evaluations of the denoiser, each with its vector-Jacobian products;
            with a quadrature of the trace only those at its nodes have them.
    """

    value: Float[Tensor, " b"]
    by_probe: Float[Tensor, "k b"]
    integration_error: Float[Tensor, " b"]
    latent: Float[Tensor, "b c h w"]
    evaluations: Float[Tensor, " b"]

    @property
    def probe_error(self) -> Float[Tensor, " b"]:
        """Standard error of `value` from the spread over probes; NaN if there is one probe."""
        return self.by_probe.std(0) / math.sqrt(len(self.by_probe))


def potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    n_steps: int | AdaptiveSteps | GaussLegendre = 10,
    n_probes: int | Literal["exact"] | Hutchinson | Probing = 1,
    generator: Generator | None = None,
    *,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float | None = None,
) -> Float[Tensor, " b"]:
    """-log p(x), nats per image: the value of `estimate_potential`, which has the arguments."""
    levels = {"sigma_min": sigma_min, "sigma_max": sigma_max}
    return estimate_potential(denoiser, x, n_steps, n_probes, generator, **levels).value


def estimate_potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    n_steps: int | AdaptiveSteps | GaussLegendre = 10,
    n_probes: int | Literal["exact"] | Hutchinson | Probing = 1,
    generator: Generator | None = None,
    *,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float | None = None,
    progress: bool = False,
) -> PotentialEstimate:
    """-log p(x) with p the model's distribution at noise level sigma_min.

    The trace of dD/dx is estimated by e^T (dD/dx) e with e of random signs, the same along the
    whole path and for all images: potentials of one call, or of calls with equal probes, may be
    compared, since the error of the probes is common to them.

    Args:
        denoiser: D(x, sigma) on [0, 1], differentiable, for sigma of shape (B,). Its attribute
            `data_std`, or else 0.25, is sqrt(v): of no account for the result, only for the size of
            the correction.
        x: images, each treated as if it were alone. One float32 evaluation is accurate to about
            1e-6, and so is the result.
        n_steps: number of steps, equal in time, 6 evaluations each; or steps chosen by their
            error, in nats per dimension, and for the whitened image in root mean square; or the
            nodes at which the trace is taken, the cheapest where there are several probes.
        n_probes: number of random probes for the trace; "exact" (small images); or given probes.
        generator: source of random probes.
        sigma_min: noise level at which the density is taken. Quantised images have no density
            below half a grey level, 0.002: `dequantise` them, or stay above.
        sigma_max: noise level at which the distribution is taken to be a Gaussian, with the mean
            that the denoiser gives; by default the denoiser's own `sigma_max`, or else 80. A
            network is rough beyond the levels of its training, and solvers need many steps.
        progress: show a bar.

    Raises:
        TypeError: random probes without a generator.
        ValueError: probes that do not fit the images or the steps, or wrong noise levels.
    """
    check_images("potential", x)
    trace = choose_trace(n_probes, x, generator)
    if isinstance(n_steps, AdaptiveSteps) and trace.vectors.shape[1] > 1:
        raise ValueError(
            "potential: adaptive steps differ from image to image, so that the probes must be the "
            "same for all, (K, C, H, W)."
        )
    flow = WhitenedFlow(denoiser, x, trace, sigma_max)
    if not 0 < sigma_min < flow.sigma_max:
        raise ValueError(
            f"potential: expected 0 < sigma_min < sigma_max, got {sigma_min}, {flow.sigma_max}."
        )
    with tqdm(total=1.0, disable=not progress, bar_format="{percentage:3.0f}% {bar}") as bar:
        end = flow.integrate(x, sigma_min, n_steps, bar.update)
    y, correction = flow.split(end.state)
    log_scale = math.log(2 * math.pi * (flow.v + sigma_min**2))
    value = inner(y, y) / 2 + flow.n / 2 * log_scale + correction.T  # for each probe
    return PotentialEstimate(value.mean(0), value, end.defect, y.to(x), end.evaluations)


def potential_gradient(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigma: float
) -> Float[Tensor, "b c h w"]:
    """The gradient of -log p_sigma at x, (x - D(x, sigma)) / sigma^2: no equation is solved.

    It is 1 / sigma^2-Lipschitz or worse: descend with steps below 2 sigma^2.
    """
    return (x - denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))) / sigma**2


class WhitenedFlow:
    """The equation of the module's heading, for the state (y, integral of the trace)."""

    def __init__(
        self,
        denoiser: Denoiser,
        x: Float[Tensor, "b c h w"],
        trace: Trace,
        sigma_max: float | None,
    ) -> None:
        self.denoiser, self.trace, self.vectors = denoiser, trace, trace.vectors.to(x)
        self.img_size, self.n, self.dtype = x.shape[1:], x[0].numel(), x.dtype
        self.v = float(getattr(denoiser, "data_std", 0.25)) ** 2
        self.saturation = self.n * self.v  # s^2
        self.sigma_max = (
            getattr(denoiser, "sigma_max", SIGMA_MAX) if sigma_max is None else sigma_max
        )
        # e^T e, since D_ref is seen through the probes as well: n for random signs.
        self.energy = trace.combine(self.vectors.double().square().flatten(2).sum(2)).T
        with torch.no_grad():  # the best guess from noise alone is the mean of all images
            self.m = denoiser(
                torch.full_like(x[:1], 0.5), x.new_full((1,), self.sigma_max)
            ).double()

    def time(self, sigma: float) -> float:
        """u."""
        return math.log(sigma) - math.log1p(sigma**2 / self.saturation) / 2

    def variance(self, u: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """sigma^2 at the time u, and d log sigma / du = 1 + sigma^2 / s^2."""
        stretch = 1 / (1 - (2 * u).exp() / self.saturation)
        return (2 * u).exp() * stretch, stretch

    def start(self, x: Float[Tensor, "b c h w"], sigma_min: float) -> Float[Tensor, "b m"]:
        """The state at sigma_min."""
        y = (x.double() - self.m) / math.sqrt(self.v + sigma_min**2)
        return torch.cat([y.flatten(1), y.new_zeros(len(x), self.energy.shape[1])], 1)

    def split(self, state: Float[Tensor, "b m"]) -> tuple[Tensor, Float[Tensor, "b k"]]:
        """y (B, C, H, W), and the integrals of the trace."""
        return state[:, : self.n].view(-1, *self.img_size), state[:, self.n :]

    def slope(self, u: Float[Tensor, " b"], state: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """d state / du: that with respect to log sigma, stretched."""
        found, forms = denoise_with_trace(self.denoiser, *self.image(u, state), self.vectors)
        return torch.cat([self._drift(u, state, found), self._trace_rate(u, forms)], dim=1)

    def transport(
        self, u: Float[Tensor, " b"], state: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b m"]:
        """d state / du with 0 in the place of the trace, at the cost of a forward pass."""
        with torch.no_grad():
            found = self.denoiser(*self.image(u, state))
        return torch.cat([self._drift(u, state, found), 0 * state[:, self.n :]], dim=1)

    def trace_rate(
        self, u: Float[Tensor, " b"], state: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b k"]:
        """The part of `slope` that belongs to the trace."""
        _, forms = denoise_with_trace(self.denoiser, *self.image(u, state), self.vectors)
        return self._trace_rate(u, forms)

    def image(self, u: Float[Tensor, " b"], state: Float[Tensor, "b m"]) -> tuple[Tensor, Tensor]:
        """What the denoiser is given: x (B, C, H, W) and sigma (B,)."""
        variance, _ = self.variance(u)
        y, _ = self.split(state)
        x = self.m + per_image((self.v + variance).sqrt(), y) * y
        return x.to(self.dtype), variance.sqrt().to(self.dtype)

    def _drift(self, u: Tensor, state: Tensor, found: Tensor) -> Float[Tensor, "b n"]:
        variance, stretch = self.variance(u)
        y, _ = self.split(state)
        spread = per_image((self.v + variance).sqrt(), y)
        # D_ref - m = v / spread^2 (x - m), and x - m = spread y.
        slope = -(found.double() - self.m - self.v / spread * y) / spread
        return stretch[:, None] * slope.flatten(1)

    def _trace_rate(self, u: Tensor, forms: Tensor) -> Float[Tensor, "b k"]:
        variance, stretch = self.variance(u)
        shrink = (self.v / (self.v + variance))[:, None]  # of D_ref
        return stretch[:, None] * (self.trace.combine(forms.double()).T - shrink * self.energy)

    def integrate(
        self,
        x: Float[Tensor, "b c h w"],
        sigma_min: float,
        rule: int | AdaptiveSteps | GaussLegendre,
        after_step: Callable[[float], object],
    ) -> Integration:
        """The state at sigma_max."""
        solver = {"norm": self.norm, "measure": self.error}
        state, start, end = (
            self.start(x, sigma_min),
            self.time(sigma_min),
            self.time(self.sigma_max),
        )
        if not isinstance(rule, GaussLegendre):
            return integrate(self.slope, state, start, end, rule, **solver, after_step=after_step)
        integral, evaluations = torch.zeros_like(state[:, self.n :]), torch.zeros_like(state[:, 0])
        defect = torch.zeros_like(evaluations)
        for u, weight in [*rule.nodes(start, end), (end, 0.0)]:
            state, error, spent = integrate(self.transport, state, start, u, 1, **solver)
            if weight:
                integral += weight * self.trace_rate(torch.full_like(defect, u), state)
            defect, evaluations, start = defect + error, evaluations + spent + bool(weight), u
            after_step(1 / (rule.n + 1))
        state = torch.cat([state[:, : self.n], integral], dim=1)
        return Integration(state, defect, evaluations)

    def error(self, u: Tensor, state: Tensor, slope: Tensor, local: Tensor) -> Float[Tensor, " b"]:
        """Effect of an error of the state on the potential, nats, to first order.

        An image that is off by dy has another potential, by its gradient times dy. With respect
        to y that is (spread / sigma)^2 (x - D) / spread, and so by the equation of the flow
        y + (spread / sigma)^2 dy / d log sigma.
        """
        variance, stretch = self.variance(u)
        lever = (self.v + variance) / (variance * stretch)
        gradient = state[:, : self.n] + lever[:, None] * slope[:, : self.n]
        return ((gradient * local[:, : self.n]).sum(1) + local[:, self.n :].mean(1)).abs()

    def norm(self, local: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
        """Size of an error: root mean square of the image, and nats per dimension."""
        image, traces = local[:, : self.n], local[:, self.n :]
        return torch.maximum(image.norm(dim=1) / self.n**0.5, traces.abs().amax(1) / self.n)
