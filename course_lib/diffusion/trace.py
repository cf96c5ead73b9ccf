"""Trace of the Jacobian of a denoiser by quadratic forms e^T (dD/dx) e: no matrix is formed."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.diffusion.schedules import Denoiser
from course_lib.rng import check_generator

VECTORS_AT_ONCE = 32  # vector-Jacobian products in one pass: more only takes memory


@dataclass(frozen=True, eq=False)
class Hutchinson:
    """Estimates e^T J e of tr J, one for each probe e: unbiased where E e e^T = I.

    Args:
        probes: (K, C, H, W), the same for all images, or (K, B, C, H, W).

    Source: Hutchinson 1990, doi:10.1080/03610919008812866; Skilling 1989.
    """

    probes: Float[Tensor, "k c h w"] | Float[Tensor, "k b c h w"]

    @property
    def vectors(self) -> Float[Tensor, "k #b c h w"]:
        """The probes with an axis for the images, of length 1 if all have the same."""
        return self.probes if self.probes.ndim == 5 else self.probes[:, None]

    def combine(self, forms: Float[Tensor, "k #b"]) -> Float[Tensor, "k #b"]:
        """The estimates, one for each probe."""
        return forms


@dataclass(frozen=True)
class ExactTrace:
    """tr J, the sum of e^T J e over all basis vectors e of images (C, H, W): for small images."""

    img_size: tuple[int, ...]

    @property
    def vectors(self) -> Float[Tensor, "k 1 c h w"]:
        """The basis."""
        return torch.eye(math.prod(self.img_size)).view(-1, 1, *self.img_size)

    def combine(self, forms: Float[Tensor, "k #b"]) -> Float[Tensor, "1 #b"]:
        """The sum."""
        return forms.sum(0, keepdim=True)


def choose_trace(
    n_probes: int | Literal["exact"] | Hutchinson, x: Tensor, generator: Generator | None
) -> Hutchinson | ExactTrace:
    """Random signs in this number, the exact trace, or the probes that were given, for images x.

    Raises:
        TypeError: random probes without a generator.
        ValueError: probes of another shape than the images.
    """
    if n_probes == "exact":
        return ExactTrace(tuple(x.shape[1:]))
    if isinstance(n_probes, int):
        generator = check_generator("potential", generator)
        return Hutchinson(rademacher(tuple(x.shape[1:]), n_probes, generator=generator))
    shape = n_probes.vectors.shape
    if shape[2:] != x.shape[1:] or shape[1] not in (1, len(x)):
        raise ValueError(
            f"Hutchinson: expected probes (K, {', '.join(map(str, x.shape[1:]))}) or "
            f"(K, {', '.join(map(str, x.shape))}), got {tuple(n_probes.probes.shape)}."
        )
    return n_probes


def rademacher(
    img_size: tuple[int, ...], n_probes: int, *, generator: Generator
) -> Float[Tensor, "k ..."]:
    """Probes of random signs (n_probes, *img_size): of all with E e e^T = I the least variance.

    For a symmetric J, Var e^T J e = 2 (|J|_F^2 - sum of J_ii^2); for Gaussian probes 2 |J|_F^2.
    """
    check_generator("rademacher", generator)
    bits = torch.randint(0, 2, (n_probes, *img_size), generator=generator, device=generator.device)
    return 2.0 * bits - 1.0


def denoise_with_trace(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    sigma: Float[Tensor, " b"],
    vectors: Float[Tensor, "k c h w"] | Float[Tensor, "k #b c h w"],
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "k b"]]:
    """D(x, sigma), and e^T (dD/dx) e for each vector e: one pass forward, several back."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = denoiser(x, sigma)
    forms = []
    for e in Hutchinson(vectors).vectors.expand(-1, *x.shape).split(VECTORS_AT_ONCE):
        several = len(e) > 1
        (pulled,) = torch.autograd.grad(
            found, x, e if several else e[0], retain_graph=True, is_grads_batched=several
        )
        forms.append((pulled * e).flatten(2).sum(2))
    return found.detach(), torch.cat(forms)
