"""SinGAN: a pyramid of small adversarial networks that learn one single image.

Coarse to fine, each generator adds detail to what the one before drew, and a critic compares its
drawings with the image by patches of 11 x 11 pixels alone: large structures are learnt at the
coarse scales, where a patch is half the image, texture at the fine ones.
Scales are counted from 0, the coarsest, to N, the image itself (the paper counts downwards):

    x_0 = psi_0(z_0),        x_n = up(x_{n-1}) + psi_n(up(x_{n-1}) + a_n z_n),        z_n ~ N(0, I).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from course_lib.metrics.images import signed_to_unit, unit_to_signed
from course_lib.models.blocks import check_shape, conv
from course_lib.protocols import ImageSize
from course_lib.rng import check_generator, normal_like

SLOPE = 0.2  # of the leaky rectifiers, below zero


class SinGAN(nn.Module):
    """The generators of all scales, with the image they belong to.

    Images outside have the range [0, 1]; inside, and for the noise, it is [-1, 1]. What is drawn
    lies around [0, 1] and is not clipped.

    Args:
        img_size: (C, H, W) of the image to learn.
        scales: number of generators.
        min_side: the shorter side at scale 0, in pixels: about twice a patch, so that scale 0
            learns how things are arranged but not the whole by heart.
        channels: channels of the hidden layers.
        depth: convolutions 3 x 3 in a network; a patch has 2 depth + 1 pixels a side.

    Attributes:
        generators: psi_0, ..., psi_N.
        image_sizes: (height, width) of each scale.
        image: (1, C, H, W) in [0, 1], what was learnt; zeros before training.
        amplitudes: (scales,), a_n; a_0 = 1.
        z_rec: (1, C, h_0, w_0), the noise that, with zeros at all finer scales, draws the image.
        history: what `fit_singan` recorded; not part of the state_dict.

    Raises:
        ValueError: no scale, or a min_side that does not fit.

    Source: Rott Shaham, Dekel & Michaeli 2019, arXiv:1905.01164.
    """

    image: Tensor
    amplitudes: Tensor
    z_rec: Tensor

    def __init__(
        self,
        img_size: ImageSize,
        *,
        scales: int = 5,
        min_side: int = 20,
        channels: int = 32,
        depth: int = 5,
    ) -> None:
        super().__init__()
        image_channels, height, width = img_size
        if scales < 1:
            raise ValueError(f"SinGAN: expected scales >= 1, got {scales}.")
        if not 2 * depth + 1 <= min_side <= min(height, width):
            raise ValueError(
                f"SinGAN: expected min_side between {2 * depth + 1}, the side of a patch, and "
                f"{min(height, width)}, the shorter side of the image, got {min_side}."
            )
        self.image_sizes = pyramid_sizes((height, width), scales, min_side)
        self.generators = nn.ModuleList(
            patch_generator(image_channels, channels=channels, depth=depth) for _ in range(scales)
        )
        self.history: dict[str, Tensor] = {}
        self.register_buffer("image", torch.zeros(1, *img_size))
        self.register_buffer("amplitudes", torch.ones(scales))
        self.register_buffer("z_rec", torch.zeros(1, image_channels, *self.image_sizes[0]))

    @property
    def scales(self) -> int:
        """Number of generators."""
        return len(self.generators)

    @property
    def ratio(self) -> float:
        """Ratio of the sides of an image at one scale and at the one before."""
        first, last = min(self.image_sizes[0]), min(self.image_sizes[-1])
        return (last / first) ** (1 / max(self.scales - 1, 1))

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(height, width) of each scale for images whose finest scale has another size."""
        (height, width), (last_height, last_width) = size, self.image_sizes[-1]
        return [
            (max(1, round(h * height / last_height)), max(1, round(w * width / last_width)))
            for h, w in self.image_sizes
        ]

    def noises(
        self, n: int, sizes: Sequence[tuple[int, int]], generator: Generator | None
    ) -> list[Tensor]:
        """z for n drawings, one tensor for each size; zeros without a generator."""
        zeros = [self.z_rec.new_zeros(n, self.z_rec.shape[1], *size) for size in sizes]
        return zeros if generator is None else [normal_like(z, generator) for z in zeros]

    def refine(
        self, x: Float[Tensor, "b c h w"], scale: int, z: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "b c H W"]:
        """up(x) + psi(up(x) + a z) with the generator of this scale, in the range [-1, 1].

        x is resized to the size of z.
        """
        up = resize(x, size_of(z))
        return up + self.generators[scale](up + self.amplitudes[scale] * z)

    def draw(
        self, noises: Sequence[Tensor], x: Tensor | None = None, first: int = 0
    ) -> Float[Tensor, "b c H W"]:
        """Refine once for each noise, from scale `first` on, in the range [-1, 1].

        Without x the start is grey, all zeros: x_0 = psi_0(z_0).
        """
        x = torch.zeros_like(noises[0]) if x is None else x
        for scale, z in enumerate(noises, first):
            x = self.refine(x, scale, z)
        return x

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        size: tuple[int, int] | None = None,
        start_scale: int = 0,
    ) -> Float[Tensor, "n c H W"]:
        """n random images made of the patches of the one that was learnt.

        Args:
            n: number of images.
            generator: for the noise.
            size: (height, width); that of the learnt image by default.
            start_scale: 0 draws everything. With s > 0 the learnt image takes the place of what
                the scales below s would have drawn, as in `inject`: the larger s, the smaller the
                details that change.

        Raises:
            ValueError: a scale or a size that cannot be.
            TypeError: no torch.Generator.
        """
        check_generator("SinGAN.sample", generator)
        size = size_of(self.image) if size is None else size
        if min(size) < 1:
            raise ValueError(f"SinGAN.sample: expected a positive (height, width), got {size}.")
        if start_scale:
            image = resize(self.image, size).expand(n, -1, -1, -1)
            return self.inject(image, start_scale, generator=generator)
        return signed_to_unit(self.draw(self.noises(n, self.sizes(size), generator)))

    @torch.no_grad()
    def reconstruct(self) -> Float[Tensor, "1 c H W"]:
        """The image drawn from z_rec and no other noise: training holds it to the learnt one."""
        return signed_to_unit(self.draw([self.z_rec, *self.noises(1, self.image_sizes[1:], None)]))

    @torch.no_grad()
    def inject(
        self,
        image: Float[Tensor, "b c h w"],
        start_scale: int,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Any image, redrawn with the patches of the learnt one from start_scale on.

        Shrunk to the size of scale start_scale - 1 it loses what the finer scales shall invent,
        and takes the place of a drawing there.

        Args:
            image: images of any size, in [0, 1].
            start_scale: from 1, which keeps the coarsest arrangement only, to N, which redraws
                the finest details only.
            generator: for the noise; None draws without noise.

        Raises:
            ValueError: a scale that is not there, or another number of channels.
        """
        if not 1 <= start_scale < self.scales:
            raise ValueError(
                f"SinGAN: expected a start_scale from 1 (coarse) to {self.scales - 1} (fine), got "
                f"{start_scale}. Only sample() starts at 0, from noise alone."
            )
        self.check_channels(image)
        sizes = self.sizes(size_of(image))
        coarse = resize(unit_to_signed(image), sizes[start_scale - 1])
        noises = self.noises(len(image), sizes[start_scale:], generator)
        return signed_to_unit(self.draw(noises, coarse, first=start_scale))

    def check_channels(self, image: Tensor) -> None:
        """Refuse grey images where colour was learnt, and the reverse."""
        remedy = " It needs the channels of the learnt one."
        check_shape("SinGAN", image, (self.image.shape[1], "H", "W"), remedy, "images")


def patch_generator(image_channels: int, *, channels: int = 32, depth: int = 5) -> nn.Sequential:
    """psi: an image with its noise already added, to the detail that it lacks.

    Layers are normalised over one image at a time: a drawing does not depend on its batch.
    """
    return _convolutions(image_channels, image_channels, channels, depth, normalise=True)


def patch_critic(image_channels: int, *, channels: int = 32, depth: int = 5) -> nn.Sequential:
    """One score for each pixel, (B, C, H, W) to (B, 1, H, W), about the patch around it.

    The patch has 2 depth + 1 pixels a side; nothing is normalised, which would let a score depend
    on other patches. Beyond the border the critic sees zeros, so it also judges how images end.
    """
    return _convolutions(image_channels, 1, channels, depth, normalise=False)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "b c h w"],
    fake: Float[Tensor, "b c h w"],
    *,
    generator: Generator,
) -> Float[Tensor, " b"]:
    """(|grad f(x)| - 1)^2 at x = t real + (1 - t) fake, with t uniform in [0, 1] for each pair.

    The best critic f among the 1-Lipschitz ones, which measures the Wasserstein distance, has a
    gradient of norm 1 almost everywhere on segments between coupled points.

    Args:
        critic: f, images (B, C, H, W) to one number each, (B,), or to several, (B, ...), which are
            added up. Images must not see each other: no batch normalisation.
        real, fake: images; no gradient reaches them.
        generator: for t.

    Returns:
        (B,) penalties, differentiable in the parameters of the critic.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    t = torch.rand(len(real), generator=generator, device=generator.device, dtype=real.dtype)
    t = t.to(real.device).view(-1, 1, 1, 1)
    x = (t * real + (1 - t) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square()


def pyramid_sizes(size: tuple[int, int], scales: int, min_side: int) -> list[tuple[int, int]]:
    """Sides in geometric progression, rounded: from a shorter side of min_side up to `size`."""
    if scales == 1:
        return [size]
    shrink = (min_side / min(size)) ** (1 / (scales - 1))
    height, width = size
    factors = [shrink**k for k in reversed(range(scales))]
    return [(round(height * factor), round(width * factor)) for factor in factors]


def size_of(x: Tensor) -> tuple[int, int]:
    """(height, width) of images (..., H, W)."""
    return x.shape[-2], x.shape[-1]


def resize(x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c H W"]:
    """Bicubic interpolation, with a filter as wide as needed where it shrinks."""
    if size_of(x) == tuple(size):
        return x
    return interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)


def _convolutions(
    inputs: int, outputs: int, channels: int, depth: int, *, normalise: bool
) -> nn.Sequential:
    widths = [inputs, *[channels] * (depth - 1)]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers.append(conv(a, b))
        if normalise:
            layers.append(nn.InstanceNorm2d(b, affine=True))
        layers.append(nn.LeakyReLU(SLOPE))
    return nn.Sequential(*layers, conv(widths[-1], outputs))
