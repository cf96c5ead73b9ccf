r"""What a diffusion model thinks that the probability of an image is, by the probability flow.

Along dx / d log sigma = x - D(x, sigma) the density changes by minus the divergence,

    log p_0(x_0) = log p_T(x_T) + integral of div dt          (the change of variables),

where p_0 is the law at the least noise level, sigma_min, and p_T a broad Gaussian. Both are
compared here with a Gaussian reference N(m, v I), whose denoiser D_ref(x, sigma) =
m + v (x - m) / (v + sigma^2) takes the linear part of the equation with it: in the whitened image
y = (x - m) / sqrt(v + sigma^2),

    dy / d log sigma = -(D - D_ref) / sqrt(v + sigma^2),
    -log p(x) = |y_T|^2 / 2 + n/2 log(2 pi (v + sigma_min^2)) + integral of tr d(D - D_ref)/dx,

the potential of a Gaussian, with the transported image, and a correction. A time in which little
happens at both ends, u = log sigma - log(1 + sigma^2 / s^2) / 2 with s^2 = n v, the most variance
that one direction of images of n numbers can have, leaves few and equal steps to take.

Source: Song et al. 2021, arXiv:2011.13456, section 4.3; Grathwohl et al. 2019, arXiv:1810.01367
(the trace by probes); Hutchinson 1990, doi:10.1080/03610919008812866; Skilling 1989.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from tqdm import tqdm

from course_lib.batch import per_image
from course_lib.diffusion.runge_kutta import Integration, integrate, integrate_adaptively
from course_lib.diffusion.schedules import Denoiser
from course_lib.metrics.images import check_images
from course_lib.rng import check_generator

SIGMA_MIN, SIGMA_MAX = 0.001, 80.0  # images in [0, 1]; the published 0.002 is for [-1, 1]
PROBES_AT_ONCE = 32  # vector-Jacobian products in one pass: more only takes memory
Probes = Float[Tensor, "k c h w"] | Float[Tensor, "k #b c h w"]


@dataclass(frozen=True)
class Estimate:
    """Potentials of a batch, with what is known of their errors.

    Args:
        nats: -log p(x) of the law at noise level sigma_min, nats per image, for images in [0, 1].
        by_probe: the same for each probe alone; `nats` is their mean.
        integration_error: what the differences between the orders 5 and 4 of the solver do to the
            potential, to first order, added up over the steps, nats per image. Above the error of
            `nats` if the denoiser is smooth in x and in log(sigma) on the scale of a step; for
            networks and few steps, of its size (chapter 13 measures the ratio).
        latent: the whitened image y_T, N(0, I) if x is a sample of the model.
        evaluations: of the denoiser with its vector-Jacobian products, for each image.
    """

    nats: Float[Tensor, " b"]
    by_probe: Float[Tensor, "k b"]
    integration_error: Float[Tensor, " b"]
    latent: Float[Tensor, "b c h w"]
    evaluations: Float[Tensor, " b"]

    @property
    def probe_error(self) -> Float[Tensor, " b"]:
        """Standard error of `nats` from the spread over probes; NaN if there is one probe."""
        return self.by_probe.std(0) / math.sqrt(len(self.by_probe))


def potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    n_steps: int = 10,
    n_probes: int | Literal["exact"] = 1,
    generator: Generator | None = None,
    **options,
) -> Float[Tensor, " b"]:
    """-log p(x), nats per image: `estimate_potential`, without what it knows of its errors.

    Args:
        denoiser: D(x, sigma) on [0, 1], differentiable, for sigma of shape (B,).
        x: images; each is treated as if it were alone.
        n_steps: of the solver, 6 evaluations each.
        n_probes: random vectors for the trace, or "exact".
        generator: of the probes.
        options: of `estimate_potential`.
    """
    return estimate_potential(denoiser, x, n_steps, n_probes, generator, **options).nats


def estimate_potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    n_steps: int = 10,
    n_probes: int | Literal["exact"] = 1,
    generator: Generator | None = None,
    *,
    probes: Tensor | None = None,
    tolerance: float | None = None,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float | None = None,
    std: float | None = None,
    progress: bool = False,
) -> Estimate:
    """-log p(x) with p the model's law at noise level sigma_min.

    The trace of dD/dx is estimated by e^T (dD/dx) e with e of random signs, the same along the
    whole path and for all images: potentials of one call, or of calls with equal `probes`, may be
    compared, since the noise of the probes is common to them.

    Args:
        denoiser: D(x, sigma) on [0, 1], differentiable, for sigma of shape (B,).
        x: images. One float32 evaluation is accurate to about 1e-6, and so is the result.
        n_steps: of the solver, equal in time, 6 evaluations each.
        n_probes: random vectors for the trace, or "exact": all basis vectors (small images).
        generator: of the probes.
        probes: in place of new ones, as of `rademacher`: (K, C, H, W), the same for all images, or
            (K, B, C, H, W).
        tolerance: instead of n_steps equal ones, steps with this error in nats per dimension, and
            for the whitened image in root mean square; each image has its own.
        sigma_min: noise level at which the density is taken. Quantised images have no density
            below half a grey level, 0.002: `dequantise` them, or stay above.
        sigma_max: where the law is taken to be a Gaussian, with the mean that the denoiser gives;
            by default the denoiser's own `sigma_max`, or else 80. A network must have been trained
            up to there: beyond, it is rough, and solvers need many steps.
        std: sqrt(v), of a pixel; by default the denoiser's `data_std`, or else 0.25. It is of no
            account for the result, only for the size of what is integrated.
        progress: show a bar.

    Raises:
        ValueError: sizes of probes or noise levels that make no sense.
    """
    check_images("estimate_potential", x)
    sigma_max = getattr(denoiser, "sigma_max", SIGMA_MAX) if sigma_max is None else sigma_max
    if not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"estimate_potential: expected 0 < sigma_min < sigma_max, got {sigma_min}, {sigma_max}."
        )
    if tolerance is not None and probes is not None and probes.ndim == 5:
        raise ValueError(
            "estimate_potential: with a tolerance each image has steps of its own, and the probes "
            "must be the same for all, (K, C, H, W)."
        )
    exact = probes is None and n_probes == "exact"
    if probes is None:
        probes = _draw_probes(x, n_probes, generator)
    elif probes.shape[-3:] != x.shape[1:] or (probes.ndim == 5 and probes.shape[1] != len(x)):
        raise ValueError(
            f"estimate_potential: expected probes (K, {', '.join(map(str, x.shape[1:]))}) or "
            f"(K, {', '.join(map(str, x.shape))}), got {tuple(probes.shape)}."
        )
    std = getattr(denoiser, "data_std", 0.25) if std is None else std
    flow = _WhitenedFlow(denoiser, x, probes, exact, float(std), sigma_max)
    state = flow.start(x, sigma_min)
    span = flow.time(sigma_min), flow.time(sigma_max)
    with tqdm(total=1.0, disable=not progress, bar_format="{percentage:3.0f}% {bar}") as bar:
        options = {"measure": flow.error, "after_step": bar.update}
        if tolerance is None:
            end = integrate(flow, state, *span, n_steps=n_steps, **options)
        else:
            options |= {"tolerance": tolerance, "norm": flow.norm, "first_step": 0.5}
            end = integrate_adaptively(flow, state, *span, **options)
    return flow.estimate(end, sigma_min)


def rademacher(
    img_size: tuple[int, ...], n_probes: int, *, generator: Generator
) -> Float[Tensor, "k ..."]:
    """Probes of random signs (n_probes, *img_size): of all with E e e^T = I the least variance.

    For a symmetric J, Var e^T J e = 2 (|J|_F^2 - sum of J_ii^2); for Gaussian probes 2 |J|_F^2.
    """
    check_generator("rademacher", generator)
    bits = torch.randint(0, 2, (n_probes, *img_size), generator=generator, device=generator.device)
    return 2.0 * bits - 1.0


def denoise_with_trace(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"], probes: Probes
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "k b"]]:
    """D(x, sigma), and e^T (dD/dx) e for each probe e: one pass forward, several back."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = denoiser(x, sigma)
    traces = []
    for some in each_image(probes).expand(-1, *x.shape).split(PROBES_AT_ONCE):
        kept = {"retain_graph": True, "is_grads_batched": len(some) > 1}
        (pulled,) = torch.autograd.grad(found, x, some if len(some) > 1 else some[0], **kept)
        traces.append((pulled * some).flatten(2).sum(2))
    return found.detach(), torch.cat(traces)


def each_image(probes: Probes) -> Float[Tensor, "k #b c h w"]:
    """Probes with an axis for the images, of length 1 if all have the same."""
    return probes if probes.ndim == 5 else probes[:, None]


def potential_gradient(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigma: float
) -> Float[Tensor, "b c h w"]:
    """The gradient of -log p_sigma at x, (x - D(x, sigma)) / sigma^2: no equation is solved.

    It is 1 / sigma^2-Lipschitz or worse: descend with steps below 2 sigma^2.
    """
    return (x - denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))) / sigma**2


def bits_per_dimension(
    nats: Float[Tensor, "*b"], n: int, data_range: float = 1.0
) -> Float[Tensor, "*b"]:
    """Bits for each of the n numbers of an 8-bit image, whose potential is `nats`, of any shape.

    q / (n log 2) + log2(256 / data_range): a grey level is a cell of width data_range / 256. For
    potentials of images in [-1, 1], as published ones are, data_range is 2: multiplying images by
    c adds n log c to q, so potentials of different ranges must not be compared.
    """
    return nats / (n * math.log(2)) + math.log2(256 / data_range)


def dequantise(x: Float[Tensor, "b c h w"], *, generator: Generator) -> Float[Tensor, "b c h w"]:
    """(255 x + u) / 256 with u uniform in [0, 1): an 8-bit image spread over its grey levels.

    The values k / 255 of a file have no density; these do, and what they cost in bits is at least
    what the file costs.

    Raises:
        ValueError: x does not hold multiples of 1/255.

    Source: Theis, van den Oord & Bethge 2016, arXiv:1511.01844.
    """
    check_generator("dequantise", generator)
    levels = 255 * x
    if (levels - levels.round()).abs().max() > 1e-3:
        raise ValueError(
            "dequantise: expected 8-bit images, multiples of 1/255. Round them first: "
            "(255 * x).round() / 255."
        )
    noise = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return (levels.round() + noise.to(x.device)) / 256


class _WhitenedFlow:
    """The equation of the module's heading, for the state (y, integral of the trace, by probe)."""

    def __init__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        probes: Tensor,
        exact: bool,
        std: float,
        sigma_max: float,
    ) -> None:
        self.denoiser, self.probes, self.exact = denoiser, each_image(probes).to(x), exact
        self.img_size, self.n, self.dtype = x.shape[1:], x[0].numel(), x.dtype
        self.variance, self.saturation = std**2, self.n * std**2  # v and s^2
        # D_ref is seen through the probes as well: |e|^2, which is n for random signs.
        energy = self.probes.double().square().flatten(2).sum(2)
        self.energy = energy.sum(0, keepdim=True).T if exact else energy.T
        with torch.no_grad():  # the best guess from noise alone is the mean of all images
            grey, level = torch.full_like(x[:1], 0.5), x.new_full((1,), sigma_max)
            self.mean = denoiser(grey, level).double()

    def time(self, sigma: float) -> float:
        """u."""
        return math.log(sigma) - math.log1p(sigma**2 / self.saturation) / 2

    def start(self, x: Tensor, sigma_min: float) -> Tensor:
        """The state at sigma_min."""
        y = (x.double() - self.mean) / math.sqrt(self.variance + sigma_min**2)
        return torch.cat(
            [y.flatten(1), y.new_zeros(len(x), 1 if self.exact else len(self.probes))], 1
        )

    def __call__(self, u: Tensor, state: Tensor) -> Tensor:
        """Slope of the state with respect to u: that with respect to log sigma, stretched."""
        w = (2 * u).exp()
        stretch = 1 / (1 - w / self.saturation)  # d log sigma / du = 1 + sigma^2 / s^2
        squared = w * stretch  # sigma^2
        spread = (self.variance + squared).sqrt()
        y = state[:, : self.n].view(-1, *self.img_size)
        offset = per_image(spread, y) * y  # x - m
        found, traces = denoise_with_trace(
            self.denoiser,
            (self.mean + offset).to(self.dtype),
            squared.sqrt().to(self.dtype),
            self.probes,
        )
        shrink = self.variance / spread.square()  # of D_ref
        residual = found.double() - self.mean - per_image(shrink, y) * offset
        traces = traces.double().sum(0, keepdim=True) if self.exact else traces.double()
        slope_y = -residual.flatten(1) / spread[:, None]
        slope_trace = traces.T - shrink[:, None] * self.energy
        return stretch[:, None] * torch.cat([slope_y, slope_trace], dim=1)

    def error(self, u: Tensor, state: Tensor, slope: Tensor, local: Tensor) -> Tensor:
        """What an error of the state does to the potential, in nats: the first order of it.

        An image that is off by dy goes on to another potential, by its gradient times dy. With
        respect to y it is (spread / sigma)^2 (x - D) / spread, and so by the equation of the
        flow y + (spread / sigma)^2 dy / d log sigma.
        """
        w = (2 * u).exp()
        stretch = 1 / (1 - w / self.saturation)
        squared = w * stretch
        lever = (self.variance + squared) / (squared * stretch)
        gradient = state[:, : self.n] + lever[:, None] * slope[:, : self.n]
        return ((gradient * local[:, : self.n]).sum(1) + local[:, self.n :].mean(1)).abs()

    def norm(self, state: Tensor, local: Tensor) -> Tensor:
        """Of an error: root mean square of the image, and nats per dimension."""
        image, traces = local[:, : self.n], local[:, self.n :]
        return torch.maximum(image.norm(dim=1) / self.n**0.5, traces.abs().amax(1) / self.n)

    def estimate(self, end: Integration, sigma_min: float) -> Estimate:
        """The formula of the module's heading, from the state at sigma_max."""
        y, corrections = end.state[:, : self.n], end.state[:, self.n :]
        log_scale = math.log(2 * math.pi * (self.variance + sigma_min**2))
        gaussian = y.square().sum(1) / 2 + self.n / 2 * log_scale
        by_probe = gaussian + corrections.T
        return Estimate(
            by_probe.mean(0),
            by_probe,
            end.defect,
            y.view(-1, *self.img_size).to(self.dtype),
            end.evaluations,
        )


def _draw_probes(x: Tensor, n_probes: int | str, generator: Generator | None) -> Tensor:
    if n_probes == "exact":
        return torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).view(-1, *x.shape[1:])
    if generator is None:
        raise TypeError(
            "potential: random probes need generator=torch.Generator().manual_seed(0); or give "
            "probes, or n_probes='exact'."
        )
    return rademacher(tuple(x.shape[1:]), n_probes, generator=generator)
