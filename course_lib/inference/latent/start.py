"""Where descents over the latent start."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.finite_differences import laplacian
from course_lib.inference.latent.energy import noise_sigma
from course_lib.inference.latent.generator import LatentGenerator, check_encoder, draw_latents
from course_lib.operators import Operator
from course_lib.rng import check_generator, generator_from
from course_lib.solvers import conjugate_gradient
from course_lib.validation import check_linear

GRADIENT_STD = 0.08  # of differences between neighbouring pixels of photographs, roughly
PIXEL_STD = 0.25  # of images in [0, 1], roughly: the prior of the first guess of an image


@dataclass(frozen=True, eq=False)
class Starts:
    """R starts for each image: one of its own, then draws from the prior that all images share.

    Args:
        n: R, number of starts.
        first: the first of them: "encoder", model.encode(x0).mean; "prior", a draw; or latents
            (B, ...).
        x0: images (B, C, H, W) for the encoder; `first_guess` by default.

    Raises:
        ValueError: n < 1, or another name.
    """

    n: int = 4
    first: Literal["encoder", "prior"] | Tensor = "encoder"
    x0: Tensor | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"Starts: expected n >= 1, got {self.n}.")
        if not isinstance(self.first, Tensor) and self.first not in ("encoder", "prior"):
            raise ValueError(
                f"Starts: first must be 'encoder', 'prior' or a tensor, got {self.first!r}."
            )

    def draw(
        self,
        model: LatentGenerator,
        op: Operator,
        y: Tensor,
        *,
        sigma: float,
        generator: Generator | None,
    ) -> Float[Tensor, "b r ..."]:
        """The latents; only starts that are drawn need a generator."""
        own = isinstance(self.first, Tensor) or self.first == "encoder"
        if self.n > own:
            check_generator("map_z", generator)
        pool = draw_latents(model, op, self.n - own, generator or generator_from(0)).to(y)
        pool = pool.expand(len(y), *pool.shape)
        if not own:
            return pool
        first = self.first
        if not isinstance(first, Tensor):
            remedy = "do without: starts=Starts(first='prior')."
            first = encoded("map_z", model, op, y, self.x0, sigma=sigma, remedy=remedy).mean
        if first.shape != (len(y), *pool.shape[2:]):
            raise ValueError(
                f"map_z: expected first latents of shape {(len(y), *pool.shape[2:])}, one for each "
                f"measurement, got {tuple(first.shape)}."
            )
        return torch.cat([first.detach()[:, None].to(y), pool], dim=1)


@torch.no_grad()
def first_guess(
    model: LatentGenerator, op: Operator, y: Tensor, *, sigma: float | None = None
) -> Float[Tensor, "b c h w"]:
    """An image to encode: E[x | y] if images were N(G(0), I / 16).

    A regularised inverse: A^+ y would divide noise by the small singular values of a blur, and
    leave the lost pixels of a mask black; what an encoder makes of such images is anything.

    Raises:
        ValueError: no sigma, or shapes that do not fit.
        TypeError: an operator that is not linear.
    """
    remedy = "No closed form for the image: use map_z from the prior, or give x0."
    linear, sigma = check_linear("first_guess", op, remedy), noise_sigma("first_guess", op, sigma)
    z = torch.zeros_like(draw_latents(model, op, 1, generator_from(0))).to(y)
    mean = model.decode(z.expand(len(y), *z.shape[1:])).mean
    return linear.prox_l2(mean, y, (PIXEL_STD / sigma) ** 2)


@torch.no_grad()
def smooth_guess(
    op: Operator, y: Tensor, *, sigma: float | None = None
) -> Float[Tensor, "b c h w"]:
    """An image to encode: argmin_u |A u - y|^2 / (2 sigma^2) + |grad u|^2 / (2 GRADIENT_STD^2).

    Beside `first_guess` it fills lost pixels from their neighbours. A prior that says how rough a
    neighbourhood is takes isolated pixels for roughness, and does not let go of it.

    Raises:
        ValueError: no sigma, or shapes that do not fit.
        TypeError: an operator that is not linear.
    """
    remedy = "No such image without a linear operator: give x_init."
    linear, sigma = check_linear("smooth_guess", op, remedy), noise_sigma("smooth_guess", op, sigma)
    weight = (sigma / GRADIENT_STD) ** 2

    def normal(u: Tensor) -> Tensor:
        return linear.A_adjoint(linear.A(u)) - weight * laplacian(u)

    return conjugate_gradient(normal, linear.A_adjoint(y), max_iter=300, rtol=1e-4).x


@torch.no_grad()
def encoded(
    name: str,
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    x: Tensor | None,
    *,
    sigma: float,
    remedy: str,
) -> Any:
    """q(z | x) by the encoder, at images x, `first_guess` by default."""
    encoder = check_encoder(name, model, remedy)
    x = first_guess(model, op, y, sigma=sigma) if x is None else x
    expected = (len(y), *op.img_size)
    if x.shape != expected:
        raise ValueError(
            f"{name}: expected images to encode of shape {expected}, got {tuple(x.shape)}."
        )
    return encoder.encode(x)
