r"""The variational posterior q(z) q(x | z): two factors, each a prior that is moved and narrowed.

A prior p = N(mean, (L L^T)^-1) has draws mean + L^-T e with e ~ N(0, I). A factor of it draws

    mean + shift + L^-T (s e),   so that   q = N(mean + shift, L^-T diag(s^2) L^-1)   and
    KL(q || p) = 1/2 |L^T shift|^2 + 1/2 sum (s^2 - 1 - 2 log s).

For the latent p = N(0, I), shift = m and s = a; for the image given the latent
p = N(G(z), (L L^T)^-1), shift = nu and s = b. The divergence of a point from a Gaussian is
infinite, so a point is no limit s -> 0: its term in s is left out (errata E18).

Where the latent has a prior of its own, p(h) p(z | h), q(h) is such a factor and q(z) is `Placed`:
it does not know of h, since what the measurement has settled must not move with h.
"""

from typing import Any, NamedTuple

from torch import Tensor
from torch.distributions import Normal

from course_lib.batch import inner, total
from course_lib.rng import normal_like

STANDARD_NORMAL = Normal(0.0, 1.0)  # p(z)
Parameters = dict[str, Tensor]  # "m", "log_a" (B, ...); "nu", "log_b" (B, C, H, W); those in use
# and, of a latent h above z, "m_h", "log_a_h" (B, ...)
Eps = dict[str, Tensor]  # standard normal draws "h", "z", "x", (K, B, ...), for Gaussian factors


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


class Placed(NamedTuple):
    """N(m, diag a^2), or the point m, wherever the prior N(mean, diag sigma^2) lies."""

    m: Tensor
    log_a: Tensor | None

    def draw(self, _p: Any, eps: Any) -> Tensor:
        """m + a e."""
        return self.m if self.log_a is None else self.m + self.log_a.exp() * eps

    def kl(self, p: Any) -> Tensor:
        """That of a Gaussian with s = a / sigma, plus 1/2 |(m - mean) / sigma|^2, nats per image.

        For a point, -log p(m) up to a constant: sigma depends on h, so its logarithm stays.
        """
        white, log_sigma = (self.m - p.mean) / p.stddev, p.stddev.log()
        apart = 0.5 * inner(white, white)
        if self.log_a is None:
            return apart + total(log_sigma)
        return apart + Gaussian(self.log_a - log_sigma).kl(p)


class GaussianPosterior(NamedTuple):
    """q(z) and q(x | z), and q(h) where z has a prior of its own."""

    z: Shifted | Placed
    x: Point | Gaussian | Shifted
    h: Shifted | None = None

    @classmethod
    def of(cls, free: Parameters) -> "GaussianPosterior":
        """q with these parameters; without log_a or log_b a factor is a point."""
        image = _factor(free, "log_b")
        x = Shifted(image, free["nu"]) if "nu" in free else image
        if "m_h" not in free:
            return cls(Shifted(_factor(free, "log_a"), free["m"]), x)
        z = Placed(free["m"], free.get("log_a"))
        return cls(z, x, Shifted(_factor(free, "log_a_h"), free["m_h"]))


def _factor(free: Parameters, log_scale: str) -> Point | Gaussian:
    return Gaussian(free[log_scale]) if log_scale in free else Point()


def draw_eps(free: Parameters, n_draws: int, generator: Any) -> Eps:
    """Fresh draws for `n_draws` images of each measurement."""
    scales = {"h": free.get("log_a_h"), "z": free.get("log_a"), "x": free.get("log_b")}
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
