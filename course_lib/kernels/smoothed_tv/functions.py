r"""Smoothed total variation: its value, its gradient, and a whole denoising descent.

TV_eps(u) = sum over pixels x and channels of sqrt(eps^2 + |grad u(x)|^2), with forward differences
and the Euclidean norm of the two differences at a pixel; channels do not interact. Its gradient
grad^T (grad u / sqrt(eps^2 + |grad u|^2)) is 8/eps-Lipschitz, and no better at a constant image
whose sides are even: there the Hessian is grad^T grad / eps.

Boundaries: "periodic", as everywhere in the course, or "neumann", differences across the border
count as 0.

Source: Vogel & Oman, "Iterative methods for total variation denoising", SIAM J. Sci. Comput. 1996,
doi:10.1137/0917016.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from course_lib.kernels.backend import Backend, choose_backend, implementation, needs_gradient

Boundary = Literal["periodic", "neumann"]
BOUNDARIES = get_args(Boundary)


def smoothed_tv_value(
    u: Tensor, eps: float, *, boundary: Boundary = "periodic", backend: Backend = "auto"
) -> Tensor:
    """TV_eps of each image.

    Args:
        u: (B, C, H, W).
        eps: > 0, in the unit of u.
        boundary: "periodic" or "neumann".
        backend: "auto", "reference", "numba" or "triton".

    Returns:
        (B,), differentiable twice, on every backend.
    """
    check_images("smoothed_tv_value", u, eps, boundary)
    chosen = choose_backend(backend, u.detach())
    if chosen != "reference" and needs_gradient(u):
        return _Value.apply(u, eps, boundary, chosen)
    return implementation("smoothed_tv", chosen).value(u, eps, boundary)


def smoothed_tv_grad(
    u: Tensor, eps: float, *, boundary: Boundary = "periodic", backend: Backend = "auto"
) -> Tensor:
    """Gradient of TV_eps, of the shape of u; arguments as in `smoothed_tv_value`.

    Where a gradient with respect to u is recorded, "auto" runs the reference.
    """
    check_images("smoothed_tv_grad", u, eps, boundary)
    return implementation("smoothed_tv", choose_backend(backend, u)).grad(u, eps, boundary)


class _Value(torch.autograd.Function):
    """The value by a compiled kernel; its derivative is the other public function."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, eps: float, boundary: Boundary, backend: Backend) -> Tensor:
        ctx.save_for_backward(u)
        ctx.eps, ctx.boundary = eps, boundary
        return implementation("smoothed_tv", backend).value(u, eps, boundary)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        (u,) = ctx.saved_tensors  # "auto" is the reference when a second derivative is recorded
        grad = smoothed_tv_grad(u, ctx.eps, boundary=ctx.boundary)
        return weight[:, None, None, None] * grad, None, None, None


def check_images(name: str, u: Tensor, eps: float, boundary: Boundary) -> None:
    """Refuse what is no batch of real images, an eps that smooths nothing, an unknown boundary."""
    if u.ndim != 4 or 0 in u.shape:
        raise ValueError(
            f"{name}: expected images of shape (B, C, H, W), none of them 0, got {tuple(u.shape)}. "
            "For a single image (C, H, W) use u.unsqueeze(0)."
        )
    if not u.is_floating_point():
        raise ValueError(
            f"{name}: expected a real floating-point image, got {u.dtype}. Use u / 255."
        )
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(
            f"{name}: eps must be a finite number > 0, got {eps}. Exact total variation, eps = 0, "
            "has no gradient at flat places; it needs a proximal or primal-dual method."
        )
    if boundary not in BOUNDARIES:
        raise ValueError(
            f"{name}: boundary must be one of {', '.join(BOUNDARIES)}, got {boundary!r}."
        )


@dataclass(frozen=True)
class Descent:
    """Steps of a descent on an L-Lipschitz gradient.

    Args:
        momentum: False is plain gradient descent.
        step_size: 1/L unless given; at most 1/L with momentum, below 2/L without.
    """

    momentum: bool = True
    step_size: float | None = None

    def steps(self, name: str, lipschitz: Tensor) -> Tensor:
        """The step of each image, (B,), refused where the descent could diverge."""
        if self.step_size is None:
            return 1 / lipschitz
        bound, sign = (1, "<=") if self.momentum else (2, "<")
        largest, step = bound / lipschitz.max().item(), self.step_size
        if not (0 < step <= largest and (self.momentum or step < largest)):
            raise ValueError(
                f"{name}: expected 0 < step_size {sign} {bound}/L = {largest:.6g} with "
                f"L = 1 + 8 lam/eps, got {step}. Leave it out for 1/L, or raise eps."
            )
        return torch.full_like(lipschitz, step)

    def momenta(self, q: float, n_steps: int) -> tuple[float, ...]:
        """beta_0, beta_1, ... for the inverse condition number q."""
        return momenta(q, n_steps) if self.momentum else (0.0,) * n_steps


def smoothed_tv_denoise(
    v: Tensor,
    lam: float | Tensor,
    eps: float,
    n_steps: int,
    *,
    descent: Descent = Descent(),
    x0: Tensor | None = None,
    boundary: Boundary = "periodic",
    backend: Backend = "auto",
) -> Tensor:
    r"""n_steps descent steps on F(u) = 1/2 |u - v|^2 + lam TV_eps(u), one pass over memory each.

    F is 1-strongly convex with an L-Lipschitz gradient, L = 1 + 8 lam/eps, so its momentum needs
    no restart: the sequence of `momenta` is known before the first step. With it
    F(x_n) - F* = O(min((1 - 1/sqrt(L))^n, L/n^2)).

    Args:
        v: (B, C, H, W), the noisy images.
        lam: >= 0, one for all or (B,).
        eps: > 0, in the unit of v.
        n_steps: number of steps, >= 0.
        descent: size of the steps, and whether they have momentum.
        x0: where to start, like v; v itself unless given (the last x for a smaller eps, say).
        boundary, backend: as in `smoothed_tv_value`.

    Returns:
        The last iterate, like v. The reference, which "auto" runs where v, lam or x0 requires a
        gradient, differentiates through all steps; their sizes and momenta count as constants.

    Source: Nesterov, "Introductory Lectures on Convex Optimization", 2004, scheme (2.2.8).
    """
    name = "smoothed_tv_denoise"
    check_images(name, v, eps, boundary)
    x0 = v if x0 is None else x0
    if x0.shape != v.shape or x0.dtype != v.dtype or x0.device != v.device:
        raise ValueError(
            f"{name}: expected x0 like v, {tuple(v.shape)} {v.dtype} on {v.device}, "
            f"got {tuple(x0.shape)} {x0.dtype} on {x0.device}."
        )
    if not (isinstance(n_steps, int) and n_steps >= 0):
        raise ValueError(f"{name}: n_steps must be a whole number >= 0, got {n_steps!r}.")
    if n_steps == 0:
        return x0.clone()
    lam = weight_per_image(name, lam, v)
    step = descent.steps(name, lam.detach() * 8 / eps + 1)
    betas = [descent.momenta(q, n_steps) for q in step.tolist()]
    betas = torch.tensor(betas, dtype=step.dtype).reshape(len(v), n_steps).T
    run = implementation("smoothed_tv", choose_backend(backend, v, x0, lam)).denoise
    return run(v, x0, lam, eps, step, betas, boundary)


@lru_cache(maxsize=64)
def momenta(q: float, n_steps: int) -> tuple[float, ...]:
    """Nesterov's betas for q = mu/L: they rise from 0 to (1 - sqrt(q)) / (1 + sqrt(q))."""
    betas, a = [0.0], 1.0
    for _ in range(n_steps - 1):
        # the root in (0, 1) of a_next^2 = (1 - a_next) a^2 + q a_next
        a_next = (q - a * a + math.hypot(q - a * a, 2 * a)) / 2
        betas.append(a * (1 - a) / (a * a + a_next))
        a = a_next
    return tuple(betas[:n_steps])


def weight_per_image(name: str, lam: float | Tensor, v: Tensor) -> Tensor:
    """lam as a float64 tensor (B,) on the CPU, where the schedule is computed; differentiable."""
    lam = torch.as_tensor(lam, dtype=torch.float64, device="cpu")
    if lam.shape not in ((), (1,), v.shape[:1]):
        raise ValueError(
            f"{name}: expected lam as one number or of shape ({len(v)},), one an image, "
            f"got {tuple(lam.shape)}."
        )
    if not (lam.isfinite() & (lam >= 0)).all():
        raise ValueError(f"{name}: lam must be finite and >= 0, got {lam.tolist()}.")
    return lam.expand(len(v))
