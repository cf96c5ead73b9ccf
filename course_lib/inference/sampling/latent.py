"""Long runs: draws from the true posterior of a generative model, to judge approximations by.

With z ~ N(0, I), x given z ~ N(D(z), s^2 I) and y = A x + noise of standard deviation sigma,

    p(z | y) ~ exp(-|z|^2 / 2) N(y; A D(z), sigma^2 I + s^2 A A^T),

from which Hamiltonian Monte Carlo draws. Then x given z and y is Gaussian, and is drawn exactly:
with noise added to D(z) and to y, each of its own size, the most probable image is a draw.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.batch import inner
from course_lib.inference.latent.laplace import Laplace, check_linear, laplace
from course_lib.inference.latent.map_latent import LatentEnergy, LatentGenerator
from course_lib.inference.sampling.hamiltonian import Chains, Potential, hamiltonian_monte_carlo
from course_lib.operators import Operator
from course_lib.rng import check_generator, normal_like
from course_lib.solvers import LBFGS, minimise
from course_lib.solvers.conjugate_gradient import conjugate_gradient
from course_lib.validation import check_measurement


@dataclass(frozen=True, eq=False)
class MarginalPosterior(LatentEnergy):
    """-log p(z | y) up to a constant, where x given z ~ N(D(z), std^2 I) is integrated out.

    With r = A D(z) - y the misfit term 1/2 r^T (sigma^2 I + std^2 A A^T)^-1 r is the least value
    over x of |A x - y|^2 / (2 sigma^2) + |x - D(z)|^2 / (2 std^2), a proximal map that the
    operators know in closed form; and at the least value, the gradient with respect to D(z) is
    (D(z) - x) / std^2, as if x were fixed (the envelope theorem).

    Args:
        model, op, y, sigma: as for LatentEnergy, which is the limit std = 0; op is linear.
        std: s, the standard deviation of x given z.

    Raises:
        ValueError: as LatentEnergy, and std <= 0.
        TypeError: an operator that is not linear.
    """

    std: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_linear("MarginalPosterior", self.op)
        if not 0 < self.std < math.inf:
            raise ValueError(
                f"MarginalPosterior: std must be positive and finite, got {self.std}. With 0, "
                "x = D(z): that is LatentEnergy."
            )

    def __call__(self, z: Tensor) -> Float[Tensor, " n"]:
        return self.value_and_grad(z)[0]

    def value_and_grad(
        self, z: Tensor, rows: Tensor | slice = slice(None)
    ) -> tuple[Float[Tensor, " n"], Tensor]:
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            image = self.image(z)
        mean, y = image.detach(), self.y[rows]
        x = self.op.prox_l2(mean, y, (self.std / self.sigma) ** 2)
        away = (mean - x) / self.std
        (pulled,) = torch.autograd.grad(image, z, away / self.std)
        z = z.detach()
        value = self._value(z, self.op.A(x) - y) + inner(away, away) / 2
        return value, pulled + self.weight * z


@dataclass(frozen=True, eq=False)
class Whitened:
    """w -> U(mode + root w), the potential f in the standard coordinates of its peak."""

    f: Potential
    peak: Laplace

    def value_and_grad(self, w: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Tensor]:
        w = w.unflatten(0, (-1, len(self.peak.mode)))  # R chains for each of B targets
        value, grad = self.f.value_and_grad(self.peak.colour(w).flatten(0, 1))
        return value, torch.einsum("bji,rbj->rbi", self.peak.root, grad.view(w.shape)).flatten(0, 1)


def sample_latents(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float,
    std: float,
    z0: Float[Tensor, "r b ..."],
    descent_steps: int = 200,
    draws: int = 200,
    warmup: int = 100,
    leapfrog_steps: int = 10,
    generator: Generator,
) -> Chains:
    """Draws from p(z | y), by R chains for each of B measurements, all in one batch.

    Each chain first descends to a peak of its own. The best peak of a measurement gives the
    coordinates in which all its chains move: those in which the Gaussian of `laplace` is N(0, I).
    This is exact for any posterior and fast for one that is nearly Gaussian.

    Args:
        model: D(z) is model.decode(z).mean; in evaluation mode.
        op: linear; any operator where std = 0.
        y: measurements (B, *op.measurement_size).
        sigma: standard deviation of the noise.
        std: s, that of x given z, for a VAE float(vae.noise_std); with 0, x = D(z).
        z0: where the chains start, (R, B, ...), for instance draws from the prior.
        descent_steps: of L-BFGS, at most.
        draws, warmup, leapfrog_steps: as in `hamiltonian_monte_carlo`.
        generator: of the chains.

    Returns:
        Chains; their `r_hat` and `effective_sample_size` say whether the run was long enough.
        `scale` is in the coordinates of the peak. `gradients` counts each step of the descent as
        one; the curvature costs 2 d decodings of a latent of d numbers besides.

    Raises:
        ValueError: shapes that do not fit, sigma or std out of range, a model in training mode.
        TypeError: std > 0 with an operator that is not linear.
    """
    check_measurement("sample_latents", op, y)
    if z0.ndim < 3 or z0.shape[1] != len(y):
        raise ValueError(
            f"sample_latents: expected starts of shape (R, {len(y)}, ...), R for each measurement, "
            f"got {tuple(z0.shape)}."
        )
    rows = y.repeat(len(z0), *[1] * (y.ndim - 1))
    if std == 0:
        f = LatentEnergy(model, op, rows, sigma)
    else:
        f = MarginalPosterior(model, op, rows, sigma, std=std)
    end = minimise(f, z0.flatten(0, 1), LBFGS(descent_steps))
    ends, images = end.z.view(z0.shape), torch.arange(len(y), device=y.device)
    best = end.value.view(z0.shape[:2]).nan_to_num(nan=math.inf).argmin(0)
    peak = laplace(model, op, ends[best, images], sigma=sigma, std=std)
    w0 = peak.whiten(ends)
    chains = hamiltonian_monte_carlo(
        Whitened(f, peak),
        w0 + normal_like(w0, generator),
        draws=draws,
        warmup=warmup,
        leapfrog_steps=leapfrog_steps,
        generator=generator,
    )
    cost = chains.gradients + len(end.history)
    return replace(chains, draws=peak.colour(chains.draws), gradients=cost)


@torch.no_grad()
def sample_images(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    z: Float[Tensor, "s b ..."],
    *,
    sigma: float,
    std: float | None = None,
    generator: Generator,
) -> Float[Tensor, "s b c h w"]:
    """One draw from p(x | z, y) for each latent: exact, by perturbing and optimising.

    argmin_x |A x - (y + sigma e)|^2 / (2 sigma^2) + |L^T (x - u)|^2 / 2, where e is white noise
    and u ~ N(D(z), (L L^T)^-1), has the mean and the covariance of x given z and y.

    Args:
        model: decode(z) is the law of x given z.
        op: linear.
        y: measurements (B, *op.measurement_size).
        z: S latents for each, as `Chains.thinned` gives them.
        sigma: standard deviation of the noise.
        std: L is I / std, and the operator's closed form is used; without, L is
            decode(z).precision_cholesky, and conjugate gradients are.
        generator: of the perturbations.

    Raises:
        ValueError: shapes that do not fit, sigma or std <= 0.
        TypeError: an operator that is not linear, no torch.Generator.
        RuntimeError: conjugate gradients did not converge.

    Source: Papandreou & Yuille 2010, "Gaussian sampling by local perturbations", NeurIPS.
    """
    check_generator("sample_images", generator)
    check_measurement("sample_images", op, y)
    check_linear("sample_images", op)
    if z.ndim < 3 or z.shape[1] != len(y):
        raise ValueError(
            f"sample_images: expected latents of shape (S, {len(y)}, ...), S for each measurement, "
            f"got {tuple(z.shape)}."
        )
    if not sigma > 0 or not (std is None or std > 0):
        raise ValueError(
            f"sample_images: sigma and std must be positive, got {sigma} and {std}. Where "
            "x = D(z), the image is model.decode(z).mean."
        )
    law = model.decode(z.flatten(0, 1))
    rows = y.repeat(len(z), *[1] * (y.ndim - 1))
    rows = rows + sigma * normal_like(rows, generator)
    white = normal_like(law.mean, generator)
    if std is not None:
        x = op.prox_l2(law.mean + std * white, rows, (std / sigma) ** 2)
    else:
        x = _structured_draw(law, op, rows, sigma, white)
    return x.unflatten(0, z.shape[:2])


def _structured_draw(law: Any, op: Operator, y: Tensor, sigma: float, white: Tensor) -> Tensor:
    """Solves (A^T A / sigma^2 + L L^T) x = A^T y / sigma^2 + L (L^T D + white)."""
    L = law.precision_cholesky
    b = op.A_adjoint(y) / sigma**2 + L.matvec(L.matvec_t(law.mean) + white)
    solution = conjugate_gradient(
        lambda x: op.A_adjoint(op.A(x)) / sigma**2 + L.matvec(L.matvec_t(x)),
        b,
        law.mean,
        max_iter=1000,
        rtol=1e-12 if b.dtype == torch.float64 else 1e-6,
    )
    if solution.status != "converged":
        residual = solution.history["residual"][-1].max().item()
        raise RuntimeError(
            f"sample_images: conjugate gradients stopped at a relative residual of {residual:.1e}. "
            "Try float64, or a decoder whose precision is better conditioned."
        )
    return solution.x
