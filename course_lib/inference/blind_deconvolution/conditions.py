"""The conditions of Theorem 1 at a pair of image and kernel, by dense algebra."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_lib.batch import image_size
from course_lib.inference.blind_deconvolution.potentials import ImagePotential
from course_lib.inference.blind_deconvolution.second_order import JointHessian
from course_lib.operators import Blur, BlurEach


@dataclass(frozen=True)
class Conditions:
    """What Theorem 1 asks of (x, h), as numbers; eigenvalues are the least ones.

    Attributes:
        slope: |grad q(x)|, 0 at a critical point of q.
        prior: eigenvalue of Q, condition (7) if >= 0.
        injective: singular value of J along the face of the simplex, condition (8) if > 0.
        joint: eigenvalue of the matrix of Theorem 1, the quadratic form
            |H dx + J dc|^2 + sigma^2 <dx, Q dx>: positive under (7) to (9).
        hessian: eigenvalue of the Hessian of F, which has the residual h * x - y as well; equal to
            `joint` where the residual is 0. A strict local minimum has a positive one.
    """

    slope: float
    prior: float
    injective: float
    joint: float
    hessian: float


@torch.no_grad()
def conditions(at: JointHessian, *, batch: int = 64) -> Conditions:
    """The conditions of Theorem 1 at the image, the kernel and the directions of a Hessian.

    Args:
        at: the pair; as many pixels as dense matrices allow, some thousands.
        batch: number of rows of Q computed together.
    """
    q, sigma = potential_hessian(at.q, at.x, batch=batch), at.sigma
    size = image_size(at.x)
    x, residual, directions = at.x.double(), at.residual.double(), at.directions.double()
    n, op = x.numel(), Blur(at.kernel.double(), size)
    pixels = torch.eye(n, dtype=torch.float64).view(n, *size)
    H = op.A(pixels).flatten(1).T
    along = BlurEach(directions, size)
    J = along.A(x.expand(len(directions), -1, -1, -1)).flatten(1).T
    cross = along.A_adjoint(residual.expand(len(directions), -1, -1, -1)).flatten(1).T
    flat = directions.flatten(1)
    taps = J.T @ J + at.ridge * flat @ flat.T
    image, mixed = H.T @ H + sigma**2 * q, H.T @ J
    return Conditions(
        slope=at.q.grad(at.x).norm().item(),
        prior=_least(q),
        injective=torch.linalg.svdvals(J).min().item(),
        joint=_least(_blocks(image, mixed, taps)),
        hessian=_least(_blocks(image, mixed + cross, taps)),
    )


def potential_hessian(
    q: ImagePotential, x: Float[Tensor, "1 c h w"], *, batch: int = 64
) -> Float[Tensor, "n n"]:
    """Q, the symmetric part of the Jacobian of q.grad at x, in double precision.

    Row i of the Jacobian is the derivative of one entry of q.grad: one backward pass.

    Args:
        q: potential with a gradient that torch can differentiate.
        x: one image of n values.
        batch: number of rows computed together.
    """
    n, rows = x.numel(), []
    unit = torch.eye(n).to(x)
    for start in range(0, n, batch):
        v = unit[start : start + batch].view(-1, *x.shape[1:])
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            points = x.detach().expand(len(v), -1, -1, -1).clone().requires_grad_()
            (row,) = torch.autograd.grad(q.grad(points), points, v)
        rows.append(row.flatten(1).double())
    jacobian = torch.cat(rows)
    return (jacobian + jacobian.T) / 2


def _blocks(image: Tensor, mixed: Tensor, taps: Tensor) -> Tensor:
    return torch.cat([torch.cat([image, mixed], 1), torch.cat([mixed.T, taps], 1)])


def _least(matrix: Tensor) -> float:
    return torch.linalg.eigvalsh(matrix)[0].item()
