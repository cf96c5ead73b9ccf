r"""Is this pair of image and kernel a strict local minimum, and how does it answer to noise?

With kernels h + B c in a chart of the simplex face around h, the objective
F(x, c) = 1/2 |(h + B c) * x - y|^2 + sigma^2 q(x) has at c = 0 the Hessian

    (dx, dc) -> (H^T u + D^T r + sigma^2 Q dx,  B^T (X^T u + dX^T r)),    u = h * dx + D * x,

with the residual r = h * x - y, D = B dc, Q the Hessian of q, and X, dX the convolutions with x
and dx; a ridge of the kernel adds ridge B^T D. Where r = 0, and without a ridge, its quadratic form
is |u|^2 + sigma^2 <dx, Q dx>: Theorem 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.fft import rfft2
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_lib.batch import image_sides, image_size
from course_lib.inference.blind_deconvolution.kernel_step import correlation_at_taps
from course_lib.inference.blind_deconvolution.potentials import ImagePotential
from course_lib.operators import Blur
from course_lib.solvers import conjugate_gradient
from course_lib.validation import check_start


def face_basis(
    kernel: Float[Tensor, "1 1 k l"], threshold: float = 0.0
) -> Float[Tensor, "d 1 k l"]:
    """An orthonormal basis of the directions along the face of the simplex on which h lies.

    They are zero off the support {h > threshold}, of m taps, and have sum zero: d = m - 1. Theorem
    1 needs such a chart: with all taps as parameters, P(v + c 1) = P(v) makes the Hessian singular
    (erratum E6). The columns are those of the reflection that takes the first unit vector to
    (1, ..., 1) / sqrt(m), without the first.
    """
    taps = kernel.flatten()
    support = (taps > threshold).nonzero().squeeze(1)
    m = len(support)
    normal = taps.new_full((m,), -(m**-0.5))
    normal[0] += 1
    reflection = torch.eye(m).to(taps)
    if m > 1:
        reflection = reflection - 2 * torch.outer(normal, normal) / normal.square().sum()
    basis = taps.new_zeros(m - 1, len(taps))
    basis[:, support] = reflection[1:]
    return basis.view(m - 1, *kernel.shape[1:])


def curvature(q: ImagePotential, x: Tensor, v: Tensor) -> Tensor:
    """Q v, the symmetric part of the Jacobian of q.grad at x, times v.

    Of a true gradient the Jacobian is symmetric. That of a network nearly is, and what is not
    symmetric in it belongs to no potential.
    """
    # The fused attention kernels have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        x = x.detach().requires_grad_()
        w = torch.zeros_like(x, requires_grad=True)
        (pulled,) = torch.autograd.grad(q.grad(x), x, w, create_graph=True)  # J^T w, linear in w
        (pushed,) = torch.autograd.grad(pulled, w, v, retain_graph=True)  # J v
        (transposed,) = torch.autograd.grad(q.grad(x), x, v)
    return ((pushed + transposed) / 2).detach()


@dataclass(frozen=True, eq=False)
class JointHessian:
    """The Hessian of F at (x, h), of one image, as a map of pairs (dx, dc).

    Args:
        q: potential with a gradient that torch can differentiate.
        x, y: (1, C, H, W).
        kernel: (1, 1, k, l), of sum 1.
        sigma: standard deviation of the noise.
        basis: the directions B in which kernels may change, (d, 1, k, l); `face_basis` by default.
            Other lengths change eigenvalues, not their signs; with those of comparable curvature,
            such as face_basis(h) / sqrt(f.lipschitz), `smallest` takes fewer products.
        ridge: of the kernel, as of `KernelObjective`.

    Raises:
        ValueError: more than one image.
    """

    q: ImagePotential
    x: Float[Tensor, "1 c h w"]
    kernel: Float[Tensor, "1 1 k l"]
    y: Float[Tensor, "1 c h w"]
    sigma: float
    basis: Float[Tensor, "d 1 k l"] | None = None
    ridge: float = 0.0

    def __post_init__(self) -> None:
        check_start("JointHessian", self.x, "x")

    @cached_property
    def directions(self) -> Float[Tensor, "d 1 k l"]:
        """B, as given or by default."""
        return face_basis(self.kernel) if self.basis is None else self.basis

    @cached_property
    def op(self) -> Blur:
        """H."""
        return Blur(self.kernel, image_size(self.x))

    @cached_property
    def residual(self) -> Float[Tensor, "1 c h w"]:
        """r = h * x - y."""
        return self.op.A(self.x) - self.y

    def __call__(self, dx: Tensor, dc: Float[Tensor, " d"]) -> tuple[Tensor, Float[Tensor, " d"]]:
        """The Hessian times (dx, dc)."""
        along = Blur(self.direction(dc), image_size(self.x))
        u = self.op.A(dx) + along.A(self.x)
        first = self.op.A_adjoint(u) + along.A_adjoint(self.residual)
        first = first + self.sigma**2 * curvature(self.q, self.x, dx)
        second = self.pull(self.x, u) + self.pull(dx, self.residual)
        flat = self.directions.flatten(1)
        return first, second + self.ridge * flat @ (flat.T @ dc)

    def direction(self, dc: Float[Tensor, " d"]) -> Float[Tensor, "1 1 k l"]:
        """B dc, a change of the kernel."""
        return torch.tensordot(dc, self.directions, dims=1)[None]

    def pull(self, x: Tensor, u: Tensor) -> Float[Tensor, " d"]:
        """B^T X^T u, the adjoint of dc -> (B dc) * x."""
        size, img_size = image_sides(self.kernel), image_sides(x)
        taps = correlation_at_taps(rfft2(x), rfft2(u), size, img_size)
        return self.directions.flatten(1) @ taps.flatten()

    @property
    def size(self) -> int:
        """Pixels and directions of the kernel together."""
        return self.x.numel() + len(self.directions)

    def packed(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The same on one vector: pixels first."""
        n = self.x.numel()
        dx, dc = self(v[:n].view_as(self.x), v[n:])
        return torch.cat([dx.flatten(), dc])

    def smallest(
        self, count: int = 4, *, rtol: float = 1e-3, max_iter: int | None = None
    ) -> tuple[Float[Tensor, " count"], Float[Tensor, "count n"]]:
        """The least eigenvalues, ascending, and their eigenvectors (rows), by Lanczos' method.

        All are positive if and only if the pair is a strict local minimum along the face.

        Args:
            count: number of values.
            rtol, max_iter: of scipy's `eigsh`; the lower end of a spectrum takes many products.
        """

        def product(v: np.ndarray) -> np.ndarray:
            return self.packed(torch.from_numpy(v.ravel()).to(self.x)).double().numpy()

        factory: Any = LinearOperator  # whose signature the stubs do not know
        operator = factory((self.size, self.size), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(self.size)
        settings: dict[str, Any] = {"tol": rtol, "maxiter": max_iter, "v0": start}
        values, vectors = eigsh(operator, count, which="SA", **settings)
        order = np.argsort(values)
        return torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order].T.copy())

    def response(
        self, b: Float[Tensor, "1 c h w"], *, rtol: float = 1e-8, max_iter: int = 5000
    ) -> tuple[Float[Tensor, "1 c h w"], Float[Tensor, "1 1 k l"]]:
        """Where the minimum goes if b is added to y: (dx, dh) to first order, by Theorem 1.

        The Hessian, which has to be positive definite, times (dx, dc) is (H^T b, B^T X^T b);
        conjugate gradients.
        """
        right = torch.cat([self.op.A_adjoint(b).flatten(), self.pull(self.x, b)])
        found = conjugate_gradient(
            lambda v: self.packed(v[0])[None], right[None], rtol=rtol, max_iter=max_iter
        ).x[0]
        n = self.x.numel()
        return found[:n].view_as(self.x), self.direction(found[n:])
