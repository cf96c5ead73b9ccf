r"""The variational posterior q(z) q(x | z): two factors, each a prior that is moved and narrowed.

A prior p = N(mean, (L L^T)^-1) has draws mean + L^-T e with e ~ N(0, I). A factor of it draws

    mean + shift + L^-T (s e),   so that   q = N(mean + shift, L^-T diag(s^2) L^-1)   and
    KL(q || p) = 1/2 |L^T shift|^2 + 1/2 sum (s^2 - 1 - 2 log s).

For the latent p = N(0, I), shift = m and s = a; for the image given the latent
p = N(G(z), (L L^T)^-1), shift = nu and s = b. The divergence of a point from a Gaussian is
infinite, so a point is no limit s -> 0: its term in s is left out (errata E18).
"""

from typing import Any, NamedTuple

from torch import Tensor
from torch.distributions import Normal

from course_lib.batch import inner
from course_lib.rng import normal_like

STANDARD_NORMAL = Normal(0.0, 1.0)  # p(z)
Parameters = dict[str, Tensor]  # "m", "log_a" (B, ...); "nu", "log_b" (B, C, H, W); those in use
Eps = dict[str, Tensor]  # standard normal draws "z" and "x", (K, B, ...), for Gaussian factors


class Point(NamedTuple):
    """All mass at the mean of p."""

    def draw(self, p: Any, _eps: Any) -> Tensor:
        """The mean."""
        return p.mean

    def kl(self, _p: Any) -> float:
        """Nothing: the term that is infinite is left out."""
        return 0.0


class Gaussian(NamedTuple):
    """N(mean, L^-T diag(s^2) L^-1)."""

    log_s: Tensor

    def draw(self, p: Any, eps: Any) -> Tensor:
        """mean + L^-T (s e)."""
        return p.mean + cholesky_of(p).solve_t(self.log_s.exp() * eps)

    def kl(self, _p: Any) -> Tensor:
        """1/2 sum (s^2 - 1 - 2 log s), nats per image: the change of variables L^T cancels."""
        return 0.5 * ((2 * self.log_s).exp() - 1 - 2 * self.log_s).flatten(1).sum(1)


class Shifted(NamedTuple):
    """A factor that is moved."""

    factor: Point | Gaussian
    shift: Tensor

    def draw(self, p: Any, eps: Any) -> Tensor:
        """A draw of the factor, plus the shift."""
        return self.factor.draw(p, eps) + self.shift

    def kl(self, p: Any) -> Tensor:
        """That of the factor, plus 1/2 |L^T shift|^2."""
        white = cholesky_of(p).matvec_t(self.shift)
        return self.factor.kl(p) + 0.5 * inner(white, white)


class GaussianPosterior(NamedTuple):
    """q(z) and q(x | z)."""

    z: Shifted
    x: Point | Gaussian | Shifted

    @classmethod
    def of(cls, free: Parameters) -> "GaussianPosterior":
        """q with these parameters; without log_a or log_b a factor is a point."""
        latent = Gaussian(free["log_a"]) if "log_a" in free else Point()
        image = Gaussian(free["log_b"]) if "log_b" in free else Point()
        return cls(
            Shifted(latent, free["m"]), Shifted(image, free["nu"]) if "nu" in free else image
        )


def draw_eps(free: Parameters, n_draws: int, generator: Any) -> Eps:
    """Fresh draws for `n_draws` images of each measurement."""
    scales = {"z": free.get("log_a"), "x": free.get("log_b")}
    return {
        name: normal_like(scale.expand(n_draws, *scale.shape), generator)
        for name, scale in scales.items()
        if scale is not None
    }


class DiagonalCholesky(NamedTuple):
    """L = I / std with the methods of `BandedCholesky`, for independent pixels."""

    std: Tensor

    def matvec_t(self, x: Tensor) -> Tensor:
        """L^T x."""
        return x / self.std

    def solve_t(self, v: Tensor) -> Tensor:
        """L^-T v."""
        return v * self.std


def cholesky_of(p: Any) -> Any:
    """L of N(mean, (L L^T)^-1), structured or with independent pixels."""
    structured = getattr(p, "precision_cholesky", None)
    return DiagonalCholesky(p.stddev) if structured is None else structured
