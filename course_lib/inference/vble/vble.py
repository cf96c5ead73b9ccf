r"""Variational Bayes in latent and image space (VBLE): a restoration that knows its own error.

The prior is that of a VAE: p(z) = N(0, I), p(x | z) = N(D(z), Sigma(z)) with Sigma^-1 = L L^T. The
posterior of latent and image, given y, is approximated by

    q(z) = N(m, diag a^2),    q(x | z) = N(D(z) + nu, L^-T diag(b^2) L^-1),

the prior bent: a and b shrink what the measurement has settled (b = 1 where it says nothing), and
nu adds what D cannot draw. The best such q minimises minus the ELBO, in nats,

    E[-log p(y | x)] + 1/2 sum_j (a_j^2 + m_j^2 - 1 - 2 log a_j)
                     + 1/2 sum_i (b_i^2 - 1 - 2 log b_i) + 1/2 E |L(z)^T nu|^2,

which exceeds -log p(y) by KL(q(x, z) || p(x, z | y)). The draws z = m + a e and
x = D(z) + nu + L^-T (b e') are functions of white noise, through which gradients reach m, a, b, nu.

Source: Biquard, Chabert, Genin, Latry & Oberlin, 2023, arXiv:2311.17744 (VBLE) and 2024,
arXiv:2412.04130 (VBLE-xz). The objective above differs from the one printed for a structured
Sigma; see errata E11 and E12.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from course_lib.batch import per_image
from course_lib.inference.latent.generator import LatentGenerator, check_evaluation
from course_lib.inference.latent.start import first_guess
from course_lib.metrics import interval_coverage
from course_lib.operators import GaussianNoise, Operator
from course_lib.protocols import Likelihood
from course_lib.rng import check_generator, generator_from, normal_like
from course_lib.solvers import LBFGS, minimise
from course_lib.solvers.solution import History, Status, status_of
from course_lib.validation import check_measurement

VARIANTS = {
    "MAP-z": {"latent": "point", "image": "point", "nu": False},
    "VBLE-z": {"latent": "gaussian", "image": "point", "nu": False},
    "VBLE-x": {"latent": "point", "image": "gaussian", "nu": False},
    "VBLE-xz (nu = 0)": {"latent": "gaussian", "image": "gaussian", "nu": False},
    "VBLE-xz": {"latent": "gaussian", "image": "gaussian", "nu": True},
}
LOG_SCALES = (math.log(1.5e-5), math.log(20.0))  # of a and b, as published
DRAWS = 100  # behind the mean and the standard deviation of a posterior, as published
AT_ONCE = 64  # images that go through the decoder together when samples are drawn
White = tuple[Tensor | None, Tensor | None]  # noise of z (K, B, ...) and of x (K, B, C, H, W)


class GaussianPosterior(NamedTuple):
    """q(z) q(x | z) for B measurements; what is a point has None in place of its scale.

    The divergence of a Dirac from a Gaussian is infinite, so a point is no limit of the
    formulas: its term (a^2 - 1 - 2 log a) / 2, or that of b, is left out.
    """

    m: Tensor  # (B, ...), mean of z
    log_a: Tensor | None  # (B, ...), log standard deviation of z
    log_b: Tensor | None  # (B, C, H, W), log scale of the whitened image
    nu: Tensor | None  # (B, C, H, W), shift of the image

    def white(self, draws: int, generator: Generator | None) -> White:
        """Standard normal noise for `draws` images of each measurement."""
        scales = (self.log_a, self.log_b)
        if any(scale is not None for scale in scales):
            check_generator("VBLE", generator)
        return tuple(
            None if scale is None else normal_like(scale.expand(draws, *scale.shape), generator)
            for scale in scales
        )

    def draw(
        self, model: LatentGenerator, white: White
    ) -> tuple[Float[Tensor, "k b c h w"], Float[Tensor, "k b"]]:
        """Images x = D(z) + nu + L^-T (b e') with z = m + a e, for white noise (e, e').

        Returns:
            K images a measurement (one if all is a point), and the divergence of q from the prior
            at their z, KL(q(z) || p(z)) + KL(q(x | z) || p(x | z)), in nats.
        """
        white_z, white_x = white
        z = self.m[None] if self.log_a is None else self.m + self.log_a.exp() * white_z
        if white_x is not None and white_z is None:
            z = z.expand(len(white_x), *self.m.shape)
        draws, batch = z.shape[:2]
        given_z = model.decode(z.flatten(0, 1))
        x = given_z.mean.unflatten(0, (draws, batch))
        divergence = 0.5 * _sum(self.m.square()).expand(draws, batch)
        if self.log_a is not None:
            divergence = divergence + scale_divergence(self.log_a)
        if self.log_b is not None:
            cholesky = _cholesky(given_z)
            stretched = (self.log_b.exp() * white_x).flatten(0, 1)
            x = x + cholesky.solve_t(stretched).view_as(x)
            divergence = divergence + scale_divergence(self.log_b)
            if self.nu is not None:
                x = x + self.nu
                whitened = cholesky.matvec_t(self.nu.repeat(draws, 1, 1, 1))
                divergence = divergence + 0.5 * _sum(whitened.square()).view(draws, batch)
        return x, divergence


def scale_divergence(log_scale: Tensor) -> Float[Tensor, " batch"]:
    """KL(N(0, diag s^2) || N(0, I)) = 1/2 sum (s^2 - 1 - 2 log s), nats per image.

    It is also KL(N(mu, L^-T diag(s^2) L^-1) || N(mu, L^-T L^-1)): a divergence does not see the
    change of variables L^T that both laws share.
    """
    return 0.5 * _sum((2 * log_scale).exp() - 1 - 2 * log_scale)


def negative_elbo(
    law: GaussianPosterior,
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    noise: Likelihood,
    white: White,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, ""]]:
    """The objective at given white noise, nats per image, and a number that carries its gradient.

    In that number the data term is <x, A'(x)^T slope>, with the slope of -log p(y | A x) held
    fixed: the operator's own adjoint does the work, so operators need no autograd.
    """
    x, divergence = law.draw(model, white)
    draws, batch = divergence.shape
    seen = x.detach().flatten(0, 1)
    clean = op.A(seen).requires_grad_()
    with torch.enable_grad():
        data = noise.negative_log_likelihood(clean, y.expand(draws, *y.shape).flatten(0, 1))
        (slope,) = torch.autograd.grad(data.sum(), clean)
    pulled = op.A_vjp(seen, slope).view_as(x)
    value = (data.detach().view(draws, batch) + divergence.detach()).mean(0)
    return value, (divergence.sum() + (x * pulled).sum()) / draws


@dataclass(frozen=True, eq=False)
class VBLE:
    """Variational Bayes with a VAE as prior; five settings of it have names, see `variant`.

        posterior = VBLE(load_pretrained("structured_vae_portraits64")).fit(op, y, generator=g)
        posterior.mean, posterior.std, posterior.sample(4, generator=g)

    Args:
        vae: decode(z) has `.mean`, and `.precision_cholesky` (a structured VAE) or `.stddev`; with
            an encoder, unless `fit` is given the latents to start from. In evaluation mode.
        latent: q(z) is "gaussian", or a "point".
        image: q(x | z) is "gaussian", or a "point": then x = D(z).
        nu: whether the image may be shifted away from D(z).

    Raises:
        ValueError: another word, or nu with a point as image (its divergence would be infinite).
    """

    vae: LatentGenerator
    latent: str = "gaussian"
    image: str = "gaussian"
    nu: bool = True

    def __post_init__(self) -> None:
        for name in ("latent", "image"):
            if getattr(self, name) not in ("gaussian", "point"):
                raise ValueError(
                    f"VBLE: {name} must be 'gaussian' or 'point', got {getattr(self, name)!r}."
                )
        if self.nu and self.image == "point":
            raise ValueError(
                "VBLE: with image='point' the image is D(z), and there is no room for nu. Set "
                "nu=False, or image='gaussian'."
            )

    @classmethod
    def variant(cls, name: str, vae: LatentGenerator) -> "VBLE":
        """One of "MAP-z", "VBLE-z", "VBLE-x", "VBLE-xz (nu = 0)", "VBLE-xz".

        Raises:
            ValueError: another name.
        """
        if name not in VARIANTS:
            raise ValueError(f"VBLE.variant: there is {', '.join(VARIANTS)}; got {name!r}.")
        return cls(vae, **VARIANTS[name])

    def fit(
        self,
        op: Operator,
        y: Tensor,
        *,
        noise: Likelihood | float | None = None,
        steps: int = 300,
        step_size: float = 0.1,
        draws: int = 1,
        clip_norm: float = 20.0,
        method: str = "adam",
        x_init: Tensor | None = None,
        z_init: Tensor | None = None,
        white: White | None = None,
        generator: Generator | None = None,
    ) -> "VariationalPosterior":
        """The law that minimises the objective, for all images at once, each on its own way.

        It starts from the encoder's q(z | x) at a first guess of the image, b = 1 and nu = 0.

        Args:
            op: any operator; a linear one if the first guess is to be made here.
            y: measurements (B, *op.measurement_size).
            noise: gives -log p(y | A x): a noise model, or the standard deviation of Gaussian
                noise; op.noise_model by default.
            steps: of the descent.
            step_size: of Adam for m, log a and log b, about the change of a number in one step;
                nu moves by the deviation of images from D(z) times that. It falls to 0 along a
                cosine, so that the noise of the gradient is averaged out.
            draws: K, of z and x in every step.
            clip_norm: an image's gradient, divided by its number of pixels, is shortened to
                this norm.
            method: "adam" with fresh draws at every step, or "lbfgs" with the same draws
                throughout, which finds the minimum for those to many digits.
            x_init: images (B, C, H, W) for the encoder; `first_guess` by default.
            z_init: latents (B, ...) to start from instead; log a is then -3.
            white: the draws of every step, (K, B, ...) for z and (K, B, C, H, W) for x, None in
                place of those that are not needed.
            generator: of the draws; not needed by MAP-z, nor where `white` is given.

        Raises:
            ValueError: no noise model, a model in training mode or without encoder, shapes that
                do not fit, an option out of its range.
            TypeError: draws to make and no torch.Generator; a noise model without likelihood.
        """
        check_measurement("VBLE.fit", op, y)
        check_evaluation(self.vae)
        if steps < 1 or draws < 1 or not step_size > 0 or not clip_norm > 0:
            raise ValueError(
                "VBLE.fit: expected steps >= 1, draws >= 1, step_size > 0 and clip_norm > 0, got "
                f"{steps}, {draws}, {step_size} and {clip_norm}."
            )
        noise = _likelihood(op, noise)
        if isinstance(self.vae, nn.Module):  # the same numbers, up to twice as fast on a CPU
            self.vae.to(memory_format=torch.channels_last)
        law = self._start(op, y, noise, x_init, z_init)

        def objective(law: GaussianPosterior, y: Tensor, white: White) -> tuple[Tensor, Tensor]:
            return negative_elbo(law, self.vae, op, y, noise, white)

        def draw() -> White:
            return law.white(draws, generator) if white is None else white

        if method == "adam":
            of_nu = step_size * float(getattr(self.vae, "noise_std", 1.0))
            sizes = GaussianPosterior(step_size, step_size, step_size, of_nu)
            end = _adam(objective, law, y, draw, steps, sizes, clip_norm)
        elif method == "lbfgs":
            end = _lbfgs(objective, law, y, draw(), steps, step_size)
        else:
            raise ValueError(f"VBLE.fit: method must be 'adam' or 'lbfgs', got {method!r}.")
        return VariationalPosterior(self.vae, *end)

    def _start(
        self,
        op: Operator,
        y: Tensor,
        noise: Likelihood,
        x_init: Tensor | None,
        z_init: Tensor | None,
    ) -> GaussianPosterior:
        size = (len(y), *op.img_size)
        if z_init is not None:
            m, log_a = z_init.detach(), torch.full_like(z_init, -3.0)
        else:
            if not hasattr(self.vae, "encode"):
                raise ValueError(
                    f"VBLE.fit: {type(self.vae).__name__} has no encoder to start from; give "
                    "z_init."
                )
            if x_init is None:
                x_init = first_guess(self.vae, op, y, sigma=noise.std(y).mean().item())
            if x_init.shape != size:
                raise ValueError(
                    f"VBLE.fit: expected x_init of shape {size}, got {tuple(x_init.shape)}."
                )
            with torch.no_grad():
                q = self.vae.encode(x_init)
            m, log_a = q.mean, q.stddev.log()
        return GaussianPosterior(
            m,
            log_a if self.latent == "gaussian" else None,
            y.new_zeros(size) if self.image == "gaussian" else None,
            y.new_zeros(size) if self.nu else None,
        )


@dataclass(frozen=True, eq=False)
class VariationalPosterior:
    """What `VBLE.fit` found: a law to draw images from.

    Attributes:
        model: the prior.
        law: m, log a, log b and nu.
        status: "converged" if the objective came to rest ("lbfgs" only), "diverged" if it left
            the finite numbers for any image, else "max_iter".
        history: "objective", (steps, B): minus the ELBO in nats as each step estimated it.
    """

    model: LatentGenerator
    law: GaussianPosterior
    status: Status
    history: dict[str, Tensor]

    @torch.no_grad()
    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n b c h w"]:
        """n draws of the image for each measurement; all alike where everything is a point."""
        if n < 1:
            raise ValueError(f"VariationalPosterior.sample: expected n >= 1, got {n}.")
        parts, at_once = [], max(1, AT_ONCE // len(self.law.m))
        for first in range(0, n, at_once):
            white = self.law.white(min(at_once, n - first), generator)
            parts.append(self.law.draw(self.model, white)[0])
            if white == (None, None):
                return parts[0].expand(n, *parts[0].shape[1:])
        return torch.cat(parts)

    @cached_property
    def mean(self) -> Float[Tensor, "b c h w"]:
        """E[x | y] over 100 draws with seed 0: the estimate of least square error."""
        return self._draws.mean(0)

    @cached_property
    def std(self) -> Float[Tensor, "b c h w"]:
        """Standard deviation of each pixel over the same draws, in the unit of the image."""
        return self._draws.std(0)

    @cached_property
    @torch.no_grad()
    def decoded(self) -> Float[Tensor, "b c h w"]:
        """D(m) + nu: the image at the mean latent, without any draw."""
        x = self.model.decode(self.law.m).mean
        return x if self.law.nu is None else x + self.law.nu

    def coverage(
        self, truth: Tensor, alpha: float = 0.9, *, corrected: bool = False
    ) -> Float[Tensor, " b"]:
        """Part of the pixels whose truth lies in their interval; see `interval_coverage`."""
        return interval_coverage(self._draws, truth, alpha, corrected=corrected)

    @cached_property
    def _draws(self) -> Float[Tensor, "n b c h w"]:
        return self.sample(DRAWS, generator_from(0))


@dataclass(frozen=True, eq=False)
class WhitePrecision:
    """L = I / std, in the words of `BandedCholesky`: the decoder of an ordinary VAE."""

    std: Tensor

    def matvec_t(self, x: Tensor) -> Tensor:
        return x / self.std

    def solve_t(self, v: Tensor) -> Tensor:
        return v * self.std


def _cholesky(given_z):
    """L of p(x | z), for a structured decoder or one with independent pixels."""
    structured = getattr(given_z, "precision_cholesky", None)
    return WhitePrecision(given_z.stddev) if structured is None else structured


def _likelihood(op: Operator, noise: Likelihood | float | None) -> Likelihood:
    noise = op.noise_model if noise is None else noise
    if noise is None:
        raise ValueError(
            f"VBLE.fit: {type(op).__name__} has no noise model; give noise, such as its standard "
            "deviation in units of y."
        )
    noise = GaussianNoise(float(noise)) if isinstance(noise, (int, float)) else noise
    if not isinstance(noise, Likelihood):
        raise TypeError(
            f"VBLE.fit: {type(noise).__name__} draws noise but has no negative_log_likelihood(...) "
            "and std(...). Use GaussianNoise or PoissonNoise, or add the two."
        )
    return noise


Objective = Callable[[GaussianPosterior, Tensor, White], tuple[Tensor, Tensor]]
End = tuple[GaussianPosterior, Status, dict[str, Tensor]]


def _adam(
    objective: Objective,
    law: GaussianPosterior,
    y: Tensor,
    draw: Callable[[], White],
    steps: int,
    sizes: GaussianPosterior,
    clip_norm: float,
) -> End:
    """Adam on all numbers of the law, each kind with its own size of step."""
    law = GaussianPosterior(
        *(None if part is None else part.clone().requires_grad_() for part in law)
    )
    unknowns = [part for part in law if part is not None]
    optimiser = torch.optim.Adam(
        [
            {"params": [part], "lr": size}
            for part, size in zip(law, sizes, strict=True)
            if part is not None
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    record, longest = History("objective"), clip_norm * y[0].numel()
    for _ in range(steps):
        value, loss = objective(law, y, draw())
        grads = torch.autograd.grad(loss, unknowns)
        lengths = sum(_sum(grad.square()) for grad in grads).sqrt()
        shortening = (longest / lengths).clamp(max=1)
        for part, grad in zip(unknowns, grads, strict=True):
            part.grad = grad * per_image(shortening, grad)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for scale in (law.log_a, law.log_b):
                if scale is not None:
                    scale.clamp_(*LOG_SCALES)
        record.add(objective=value)
    history = record.stack()
    finite = history["objective"][-1].isfinite().all()
    law = GaussianPosterior(*(None if part is None else part.detach() for part in law))
    return law, "max_iter" if finite else "diverged", history


@dataclass(frozen=True, eq=False)
class _Rowwise:
    """The objective of laws as that of vectors, at fixed white noise."""

    objective: Objective
    like: GaussianPosterior
    y: Tensor
    white: White

    def value_and_grad(self, flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        flat = flat.detach().requires_grad_()
        white = tuple(None if part is None else part[:, rows] for part in self.white)
        with torch.enable_grad():
            value, loss = self.objective(self.law(flat), self.y[rows], white)
        return value, torch.autograd.grad(loss, flat)[0]

    def flat(self) -> Tensor:
        return torch.cat([part.flatten(1) for part in self.like if part is not None], dim=1)

    def law(self, flat: Tensor) -> GaussianPosterior:
        lengths = [0 if part is None else part[0].numel() for part in self.like]
        return GaussianPosterior(
            *(
                None if old is None else new.view(-1, *old.shape[1:])
                for old, new in zip(self.like, flat.split(lengths, dim=1), strict=True)
            )
        )


def _lbfgs(
    objective: Objective,
    law: GaussianPosterior,
    y: Tensor,
    white: White,
    steps: int,
    step_size: float,
) -> End:
    """Each image's law by a descent of its own, to rest for the given draws."""
    f = _Rowwise(objective, law, y, white)
    end = minimise(f, f.flat(), LBFGS(steps, step_size, rtol=torch.finfo(y.dtype).eps))
    history = {"objective": end.history}
    return f.law(end.z), status_of(end.converged, ~end.value.isfinite()), history


def _sum(values: Tensor) -> Tensor:
    """Over all axes of an image or latent: (B, ...) -> (B,)."""
    return values.flatten(1).sum(1)
