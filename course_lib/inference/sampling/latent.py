"""Long runs: samples from the true posterior of a generative model, to judge approximations by.

With z ~ N(0, I), x given z ~ N(G(z), s^2 I) and y = A x + noise of standard deviation sigma,

    p(z | y) ~ exp(-|z|^2 / 2) N(y; A G(z), sigma^2 I + s^2 A A^T),

from which Hamiltonian Monte Carlo samples. Then x given z and y is Gaussian, and is sampled
exactly: with noise added to G(z) and to y, each of its own size, the most probable image is a
sample.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.inference.latent.energy import LatentEnergy
from course_lib.inference.latent.generator import LatentGenerator
from course_lib.inference.latent.laplace import Laplace, laplace
from course_lib.inference.sampling.hamiltonian import Chains, hamiltonian_monte_carlo
from course_lib.operators import Operator
from course_lib.protocols import Linear
from course_lib.rng import check_generator, normal_like
from course_lib.solvers import LBFGS, conjugate_gradient, minimise
from course_lib.validation import check_linear, check_measurement


@dataclass(frozen=True, eq=False)
class Whitened:
    """w -> U(mode + root w), the potential f in the standard coordinates of its peak."""

    f: LatentEnergy
    peak: Laplace

    def value_and_grad(self, z: Float[Tensor, "n d"], /) -> tuple[Float[Tensor, " n"], Tensor]:
        """U and its gradient at coordinates w."""
        w = z.unflatten(0, (-1, len(self.peak.mode)))  # R chains for each of B targets
        value, grad = self.f.value_and_grad(self.peak.colour(w).flatten(0, 1))
        return value, torch.einsum("bji,rbj->rbi", self.peak.root, grad.view(w.shape)).flatten(0, 1)


def sample_latents(
    f: LatentEnergy,
    z0: Float[Tensor, "r b ..."],
    *,
    n_samples: int = 200,
    warmup: int = 100,
    leapfrog_steps: int = 10,
    generator: Generator,
) -> Chains:
    """Samples from p(z | y), by R chains for each of B measurements, all in one batch.

    Each chain first descends to a peak of its own. The best peak of a measurement gives the
    coordinates in which all its chains move: those in which the Gaussian of `laplace` is N(0, I).
    This is exact for any posterior and fast for one that is nearly Gaussian.

        f = MarginalPosterior(vae, op, y, sigma, std=float(vae.noise_std))
        sample_latents(f, z0, generator=g).samples

    Args:
        f: -log p(z | y), for measurements y (B, *op.measurement_size): a `MarginalPosterior`, or
            a `LatentEnergy`, for which x = G(z).
        z0: where the chains start, (R, B, ...), for instance draws from the prior.
        n_samples, warmup, leapfrog_steps: as in `hamiltonian_monte_carlo`.
        generator: source of randomness of the chains.

    Returns:
        Chains; their `r_hat` and `effective_sample_size` say whether the run was long enough.
        `scale` is in the coordinates of the peak. `gradients` counts each step of the descent as
        one; the curvature costs 2 d decodings of a latent of d numbers besides.

    Raises:
        ValueError: starts that do not fit.
        TypeError: no torch.Generator.
    """
    check_generator("sample_latents", generator)
    if z0.ndim < 3 or z0.shape[1] != len(f.y):
        raise ValueError(
            f"sample_latents: expected starts of shape (R, {len(f.y)}, ...), R for each "
            f"measurement, got {tuple(z0.shape)}."
        )
    many = replace(f, y=f.y.repeat(len(z0), *[1] * (f.y.ndim - 1)))
    end = minimise(many, z0.flatten(0, 1), LBFGS(max_iter=200))
    ends, images = end.z.view(z0.shape), torch.arange(len(f.y), device=z0.device)
    best = end.value.view(z0.shape[:2]).nan_to_num(nan=math.inf).argmin(0)
    peak = laplace(f, ends[best, images])
    w0 = peak.whiten(ends)
    chains = hamiltonian_monte_carlo(
        Whitened(many, peak),
        w0 + normal_like(w0, generator),
        n_samples=n_samples,
        warmup=warmup,
        leapfrog_steps=leapfrog_steps,
        generator=generator,
    )
    cost = chains.gradients + len(end.history)
    return replace(chains, samples=peak.colour(chains.samples), gradients=cost)


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
    """One sample from p(x | z, y) for each latent: exact, by perturbing and optimising.

    argmin_x |A x - (y + sigma e)|^2 / (2 sigma^2) + |L^T (x - u)|^2 / 2, where e ~ N(0, I)
    and u ~ N(G(z), (L L^T)^-1), has the mean and the covariance of x given z and y.

    Args:
        model: decode(z) is the distribution of x given z.
        op: linear.
        y: measurements (B, *op.measurement_size).
        z: S latents for each measurement, as `Chains.thinned` gives them.
        sigma: standard deviation of the noise.
        std: standard deviation of x given z: L is I / std, and the operator's closed form is
            used; without, L is decode(z).precision_cholesky, and conjugate gradients are.
        generator: source of the perturbations.

    Raises:
        ValueError: shapes that do not fit, sigma or std <= 0.
        TypeError: an operator that is not linear, no torch.Generator.
        RuntimeError: conjugate gradients did not converge.

    Source: Papandreou & Yuille 2010, "Gaussian sampling by local perturbations", NeurIPS.
    """
    check_generator("sample_images", generator)
    check_measurement("sample_images", op, y)
    remedy = "Where x = G(z), the image is model.decode(z).mean."
    linear = check_linear("sample_images", op, remedy)
    if z.ndim < 3 or z.shape[1] != len(y):
        raise ValueError(
            f"sample_images: expected latents of shape (S, {len(y)}, ...), S for each measurement, "
            f"got {tuple(z.shape)}."
        )
    if not sigma > 0 or not (std is None or std > 0):
        raise ValueError(
            f"sample_images: sigma and std must be positive, got {sigma} and {std}. {remedy}"
        )
    given_z = model.decode(z.flatten(0, 1))
    rows = y.repeat(len(z), *[1] * (y.ndim - 1))
    rows = rows + sigma * normal_like(rows, generator)
    eps = normal_like(given_z.mean, generator)
    if std is not None:
        x = linear.prox_l2(given_z.mean + std * eps, rows, (std / sigma) ** 2)
    else:
        x = _structured_sample(given_z, linear, rows, sigma, eps)
    return x.unflatten(0, z.shape[:2])


def _structured_sample(given_z: Any, op: Linear, y: Tensor, sigma: float, eps: Tensor) -> Tensor:
    """Solves (A^T A / sigma^2 + L L^T) x = A^T y / sigma^2 + L (L^T D + eps)."""
    L = given_z.precision_cholesky
    b = op.A_adjoint(y) / sigma**2 + L.matvec(L.matvec_t(given_z.mean) + eps)
    solution = conjugate_gradient(
        lambda x: op.A_adjoint(op.A(x)) / sigma**2 + L.matvec(L.matvec_t(x)),
        b,
        given_z.mean,
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
