"""A hierarchy of latents whose posterior is known: h -> z -> x, everything affine."""

from typing import NamedTuple

import torch
from linear_vae import F64, SIGMA, K, LinearVAE, N, draw
from torch import Tensor
from torch.distributions import Normal

from course_lib.exact import matrix_of

K_H = 2


class HyperVAE(LinearVAE):
    """h ~ N(0, I), z ~ N(U h + d, diag exp(2 l + 2 bend h_0)), then x as in `LinearVAE`."""

    def __init__(self, seed=0, bend=0.0):
        super().__init__(seed)
        self.U, self.d = draw(K, K_H, seed=seed + 10), draw(K, seed=seed + 11)
        self.log_sigma, self.hyper_bend = 0.3 * draw(K, seed=seed + 12), bend

    def latent_prior(self, h):
        """p(z | h)."""
        log_sigma = self.log_sigma + self.hyper_bend * h[:, :1]
        return Normal(h @ self.U.T + self.d, log_sigma.exp().expand(len(h), -1))

    def encode_hyper(self, z):
        """Any q(h) to start from."""
        return Normal(0.1 * z[:, :K_H], 0.5 + 0 * z[:, :K_H])


class Best(NamedTuple):
    """The best q, and its value."""

    m_h: Tensor
    a_h: Tensor
    m: Tensor
    a: Tensor
    x: Tensor  # G(m) + nu
    b: Tensor
    elbo: Tensor


def best_mean_field(vae, op, y):
    """By dense algebra on v = (h, z, r) with r = L^T (x - V z - c), where q is a product.

    -log p(v, y) is quadratic, with precision P and its minimum at the posterior mean; the best
    independent deviations are P_jj^-1/2, and the ELBO is log p(y) - KL(q || p(v | y)).
    """
    A, L = matrix_of(op), vae.L.dense()[0]
    root = torch.linalg.inv(L).T
    n = K_H + K + N
    # Rows of M map v to numbers with unit variance: h, (z - U h - d) / sigma, r, (A x - y) / s.
    sigma = vae.log_sigma.exp()
    to_x = torch.cat([torch.zeros(N, K_H, dtype=F64), vae.V, root], dim=1)
    level_z = torch.zeros(K, n, dtype=F64)
    level_z[:, :K_H], level_z[:, K_H : K_H + K] = -vae.U, torch.eye(K, dtype=F64)
    eye = torch.eye(n, dtype=F64)
    rows = torch.cat([eye[:K_H], level_z / sigma[:, None], eye[K_H + K :], A @ to_x / SIGMA])
    seen = (y.flatten(1) - vae.c @ A.T) / SIGMA
    right = torch.cat(
        [
            torch.zeros(len(y), K_H, dtype=F64),
            (vae.d / sigma).expand(len(y), -1),
            torch.zeros(len(y), N, dtype=F64),
            seen,
        ],
        dim=1,
    )
    precision = rows.T @ rows
    mean = torch.linalg.solve(precision, (right @ rows).T).T
    a = precision.diagonal().rsqrt()
    prior_x = vae.V @ (vae.U @ vae.U.T + torch.diag(sigma**2)) @ vae.V.T + root @ root.T
    evidence = torch.distributions.MultivariateNormal(
        (vae.V @ vae.d + vae.c) @ A.T,
        A @ prior_x @ A.T + SIGMA**2 * torch.eye(len(A), dtype=F64),
    ).log_prob(y.flatten(1))
    gap = -a.log().sum() - 0.5 * torch.logdet(precision)
    h, z, r = mean.split([K_H, K, N], dim=1)
    return Best(
        h,
        a[:K_H],
        z,
        a[K_H : K_H + K],
        z @ vae.V.T + vae.c + r @ root.T,
        a[K_H + K :],
        evidence - gap,
    )
