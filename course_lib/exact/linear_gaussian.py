"""The linear-Gaussian model: exact posterior, best mean-field approximation, their distance.

    z ~ N(0, I),    x | z ~ N(W z + c, (L L^T)^-1),    y | x ~ N(A x, sigma^2 I).

Dense matrices in float64, for tens of pixels: what a method must find before it is trusted with a
network in the place of W z + c. Variational Bayes looks for the best distribution of the form

    z ~ N(z_bar, diag a^2),    x | z ~ N(W z + c + nu, L^-T diag(b^2) L^-1).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal

from course_lib.operators import LinearOperator


class Gaussian(NamedTuple):
    """N(mean, covariance) for each measurement; a Gaussian posterior is as wide for every y."""

    mean: Float[Tensor, "b n"]
    covariance: Float[Tensor, "n n"]


class JointGaussian(NamedTuple):
    """A Gaussian of latent and image together, (z, x)."""

    mean: Float[Tensor, "b kn"]
    covariance: Float[Tensor, "kn kn"]
    k: int  # number of latents

    @property
    def z(self) -> Gaussian:
        """The marginal of the latent."""
        return Gaussian(self.mean[:, : self.k], self.covariance[: self.k, : self.k])

    @property
    def x(self) -> Gaussian:
        """The marginal of the image."""
        return Gaussian(self.mean[:, self.k :], self.covariance[self.k :, self.k :])


class MeanField(NamedTuple):
    """Parameters of the variational distribution, with the symbols of the formula above."""

    z_bar: Float[Tensor, "b k"]
    a: Float[Tensor, " k"]
    nu: Float[Tensor, "b n"]
    b: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """The model above, for k latents, n pixels and m measurements; all matrices in float64.

    Args:
        W: (n, k), the decoder.
        c: (n,), the mean image.
        L: (n, n), lower triangular with a positive diagonal: the Cholesky factor of the precision
            of x given z. The mean-field approximation depends on it, not on the precision alone.
        A: (m, n), the measurement; `matrix_of` makes it from an operator.
        sigma: standard deviation of the noise.

    Raises:
        ValueError: shapes that do not fit, another precision than float64, an L that is no such
            factor, sigma <= 0.
    """

    W: Tensor
    c: Tensor
    L: Tensor
    A: Tensor
    sigma: float

    def __post_init__(self) -> None:
        if any(t.dtype != torch.float64 for t in (self.W, self.c, self.L, self.A)):
            raise ValueError("LinearGaussian: an exact reference needs float64; use .double().")
        n = len(self.c)
        if not n == len(self.W) == self.A.shape[1] or self.L.shape != (n, n):
            raise ValueError(
                f"LinearGaussian: expected W (n, k), c (n,), L (n, n), A (m, n), got "
                f"{tuple(self.W.shape)}, {tuple(self.c.shape)}, {tuple(self.L.shape)}, "
                f"{tuple(self.A.shape)}."
            )
        if not torch.equal(self.L, self.L.tril()) or not (self.L.diagonal() > 0).all():
            raise ValueError(
                "LinearGaussian: L must be lower triangular with a positive diagonal. For a "
                "covariance use LinearGaussian.from_covariance."
            )
        if not self.sigma > 0:
            raise ValueError(f"LinearGaussian: sigma must be positive, got {self.sigma}.")

    @classmethod
    def from_covariance(
        cls, W: Tensor, c: Tensor, covariance: Float[Tensor, "n n"], A: Tensor, sigma: float
    ) -> "LinearGaussian":
        """The same from the covariance of x given z instead of L."""
        return cls(W, c, torch.linalg.cholesky(torch.linalg.inv(covariance)), A, sigma)

    @property
    def prior(self) -> JointGaussian:
        """The distribution of (z, x) before anything is measured: Cov(x) = W W^T + (L L^T)^-1."""
        k = self.W.shape[1]
        cross = self.W.T
        spread = self.W @ self.W.T + self._root @ self._root.T
        eye = torch.eye(k, dtype=self.W.dtype)
        covariance = torch.cat([torch.cat([eye, cross], 1), torch.cat([cross.T, spread], 1)])
        return JointGaussian(torch.cat([torch.zeros(k).to(self.c), self.c])[None], covariance, k)

    def posterior(self, y: Float[Tensor, "b m"]) -> JointGaussian:
        """p(z, x | y), exactly: with C the prior covariance of u = (z, x), H u = A x and
        K = C H^T (H C H^T + sigma^2 I)^-1, it is N(mean + K (y - H mean), C - K H C).
        """
        mean, C, k = self.prior
        H = torch.cat([torch.zeros(len(self.A), k).to(self.A), self.A], dim=1)
        K = torch.linalg.solve(self._evidence.covariance_matrix, H @ C).T
        return JointGaussian(mean + (y - mean @ H.T) @ K.T, C - K @ H @ C, k)

    def log_evidence(self, y: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
        """log p(y) = log N(y; A c, A (W W^T + (L L^T)^-1) A^T + sigma^2 I), nats."""
        return self._evidence.log_prob(y)

    def mean_field(self, y: Float[Tensor, "b m"], *, nu: bool = True) -> MeanField:
        """The variational distribution with the largest `elbo`.

        a_j = (1 + |A W e_j|^2 / sigma^2)^-1/2 and b_i = (1 + |A L^-T e_i|^2 / sigma^2)^-1/2,
        whatever y. With nu free, W z_bar + c + nu is the exact posterior mean of x, and z_bar
        that of z; without, z_bar is the posterior mean of z if x were W z + c.

        Args:
            y: measurements.
            nu: whether nu is free, or held at 0.
        """
        a = (1 + (self.A @ self.W).square().sum(0) / self.sigma**2).rsqrt()
        b = (1 + (self.A @ self._root).square().sum(0) / self.sigma**2).rsqrt()
        if nu:
            exact = self.posterior(y)
            z_bar = exact.z.mean
            return MeanField(z_bar, a, exact.x.mean - self._decode(z_bar), b)
        AW = self.A @ self.W
        precision = torch.eye(len(a)).to(AW) + AW.T @ AW / self.sigma**2
        z_bar = torch.linalg.solve(precision, AW.T @ (y - self.c @ self.A.T).T / self.sigma**2).T
        return MeanField(z_bar, a, torch.zeros_like(self._decode(z_bar)), b)

    def elbo(self, y: Float[Tensor, "b m"], q: MeanField) -> Float[Tensor, " b"]:
        """E_q log p(y | x) - KL(q || prior), nats: log p(y) - KL(q || posterior), for any q.

        Under q, x = W z_bar + c + nu + W (a e) + L^-T (b e') with e, e' ~ N(0, I).
        """
        residual = (self._decode(q.z_bar) + q.nu) @ self.A.T - y
        error = (
            residual.square().sum(1)
            + (self.A @ self.W * q.a).square().sum()
            + (self.A @ self._root * q.b).square().sum()
        )
        log_likelihood = -error / (2 * self.sigma**2) - len(self.A) / 2 * math.log(
            2 * math.pi * self.sigma**2
        )
        latent = (q.a**2 - 1 - 2 * q.a.log()).sum() / 2 + q.z_bar.square().sum(1) / 2
        image = (q.b**2 - 1 - 2 * q.b.log()).sum() / 2 + (q.nu @ self.L).square().sum(1) / 2
        return log_likelihood - latent - image

    def joint(self, q: MeanField) -> JointGaussian:
        """The variational distribution of (z, x), to be compared with the posterior."""
        cross = q.a[:, None] ** 2 * self.W.T
        spread = self.W @ cross + self._root * q.b**2 @ self._root.T
        covariance = torch.cat(
            [torch.cat([torch.diag(q.a**2), cross], 1), torch.cat([cross.T, spread], 1)]
        )
        mean = torch.cat([q.z_bar, self._decode(q.z_bar) + q.nu], 1)
        return JointGaussian(mean, covariance, len(q.a))

    @property
    def _root(self) -> Float[Tensor, "n n"]:
        """L^-T, whose columns carry b."""
        return torch.linalg.inv(self.L).T

    @property
    def _evidence(self) -> MultivariateNormal:
        """p(y)."""
        x = self.prior.x
        noise = self.sigma**2 * torch.eye(len(self.A)).to(self.A)
        return MultivariateNormal(self.A @ x.mean[0], self.A @ x.covariance @ self.A.T + noise)

    def _decode(self, z: Float[Tensor, "b k"]) -> Float[Tensor, "b n"]:
        return z @ self.W.T + self.c


def matrix_of(op: LinearOperator) -> Float[Tensor, "m n"]:
    """The matrix of A in float64, for images and measurements laid out as vectors.

    Column i is what the operator makes of an image with a single 1 at pixel i.
    """
    n = math.prod(op.img_size)
    pixels = torch.eye(n, dtype=torch.float64).view(n, *op.img_size)
    return op.A(pixels).flatten(1).T.double()
