"""Smoothed total variation as the book writes it."""

from torch import Tensor

from course_lib.finite_differences import gradient, gradient_adjoint


def differences(u: Tensor, boundary: str) -> Tensor:
    """Forward differences, 0 across the border for "neumann"; gradient_adjoint fits both."""
    p = gradient(u)
    if boundary == "neumann":
        p[0, ..., -1, :] = 0
        p[1, ..., :, -1] = 0
    return p


def value(u: Tensor, eps: float, boundary: str) -> Tensor:
    norm = (differences(u, boundary).square().sum(0) + eps**2).sqrt()
    return norm.flatten(1).sum(1)


def grad(u: Tensor, eps: float, boundary: str) -> Tensor:
    p = differences(u, boundary)
    return gradient_adjoint(p / (p.square().sum(0) + eps**2).sqrt())


def denoise(
    v: Tensor, x: Tensor, lam: Tensor, eps: float, step: Tensor, betas: Tensor, boundary: str
) -> Tensor:
    """lam and step (B,), betas (n_steps, B)."""
    lam, step, betas = (t.to(v)[..., None, None, None] for t in (lam, step, betas))
    previous = x
    for beta in betas:
        y = x + beta * (x - previous)
        x, previous = y - step * (y - v + lam * grad(y, eps, boundary)), x
    return x
