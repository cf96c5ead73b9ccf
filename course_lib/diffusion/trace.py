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
NUMBERS_AT_ONCE = 1024  # in one pass on a CPU, which an image of 32 x 32 pixels keeps busy


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


@dataclass(frozen=True, eq=False)
class Probing:
    """Estimates tr J by probes that live on sublattices: one sum of stride^2 forms for each draw.

    A draw of signs e is cut into the parts e_s on the pixels (i, j) with the same (i mod stride,
    j mod stride), and sum_s e_s^T J e_s counts no pair of pixels that is closer than the stride.
    It is unbiased as e^T J e is, its variance 2 sum J_ij^2 over the pairs that are left. The
    derivative of a denoiser at small noise levels decays with the distance of two pixels, and then
    these stride^2 products have a far smaller variance than as many independent probes.

    Args:
        signs: (K, C, H, W), as of `rademacher`, the same for all images, or (K, B, C, H, W).
        stride: distance of the pixels that share a probe.

    Source: Bekas, Kokiopoulou & Saad 2007, doi:10.1016/j.apnum.2007.01.003; Tang & Saad 2012,
    doi:10.1002/nla.779.
    """

    signs: Float[Tensor, "k c h w"] | Float[Tensor, "k b c h w"]
    stride: int = 4

    @property
    def vectors(self) -> Float[Tensor, "m #b c h w"]:
        """The parts of all draws, those of one draw next to each other."""
        height, width = self.signs.shape[-2:]
        row = torch.arange(height)[:, None] % self.stride
        part = (row * self.stride + torch.arange(width) % self.stride).to(self.signs.device)
        masks = part == torch.arange(self.stride**2, device=part.device)[:, None, None]
        signs = Hutchinson(self.signs).vectors
        return (signs[:, None] * masks[:, None, None]).flatten(0, 1)

    def combine(self, forms: Float[Tensor, "m #b"]) -> Float[Tensor, "k #b"]:
        """The sum over the parts of each draw."""
        return forms.view(len(self.signs), -1, forms.shape[1]).sum(1)


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


Trace = Hutchinson | Probing | ExactTrace


def choose_trace(
    n_probes: int | Literal["exact"] | Hutchinson | Probing, x: Tensor, generator: Generator | None
) -> Trace:
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
            f"{type(n_probes).__name__}: expected probes (K, {', '.join(map(str, x.shape[1:]))}) "
            f"or, of Hutchinson, (K, {', '.join(map(str, x.shape))}), got probes for "
            f"{shape[1]} images of shape {tuple(shape[2:])}."
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
    for e in Hutchinson(vectors).vectors.expand(-1, *x.shape).split(_vectors_at_once(x)):
        several = len(e) > 1
        (pulled,) = torch.autograd.grad(
            found, x, e if several else e[0], retain_graph=True, is_grads_batched=several
        )
        forms.append((pulled * e).flatten(2).sum(2))
    return found.detach(), torch.cat(forms)


def _vectors_at_once(x: Float[Tensor, "b c h w"]) -> int:
    """Number of products in one pass: more gain nothing where one keeps the processor busy."""
    if x.device.type != "cpu":
        return VECTORS_AT_ONCE
    return min(VECTORS_AT_ONCE, max(1, NUMBERS_AT_ONCE // x.numel()))
