"""A conditional normalising flow: one invertible map between an image and (small image, noise).

The details that a low-resolution image lacks have a density that can be evaluated, not only
sampled: each level halves an image and maps its details to standard normal numbers, so that

    log p(x | y) = log N(c_L; y, s^2 I) + sum over levels of log N(z_l; 0, I) + log |det|,

where c_L is the image after L levels and s is narrow: c_L has to be y. Backwards, the same levels
turn y and fresh noise into images.

Source: Liang, Lugmayr, Zhang, Danelljan, Van Gool & Timofte 2021, arXiv:2108.05301 (HCFlow);
Kingma & Dhariwal 2018, arXiv:1807.03039 (Glow).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from course_lib.batch import total
from course_lib.models.blocks import (
    Centre,
    ResidualBlock,
    at_least_float32,
    check_multiple,
    check_shape,
    conv,
    scaled,
)
from course_lib.models.flow_layers import (
    ActNorm,
    GlowStep,
    haar,
    haar_inverse,
    network,
    shift_and_scale,
)
from course_lib.models.vae import gaussian, standard_normal
from course_lib.rng import check_generator, normal_like

LOW_STD = math.exp(-6)  # s: 0.63 grey levels of 255, as in the authors' code
BASE_REACH = 4.0  # largest |log-scale| of the last, conditional scaling: 50 times smaller details


class SuperResolutionFlow(nn.Module):
    """p(x | y) for y = x at 1/2, 1/4, ... 1/2^L of the resolution: one flow for all factors.

    Level l maps c_{l-1} to (c_l, z_l), from c_0 = x on, and draws z_l from the features of c_l
    alone. So the first L levels are the model of the factor 2^L.

    Args:
        steps: for each level, from fine to coarse, the number of Glow steps of its details,
            conditioned on its coarse image. Steps are cheap at the coarse end.
        lifting: number of couplings between coarse image and details in a level.
        features: number of maps that describe the coarse image.
        blocks: number of residual blocks that find them.
        hidden: width of the networks in the couplings.
        image_channels: 1 (grey) or 3 (colour).
    """

    levels: Any  # nn.ModuleList of `Level`
    initialised: Tensor

    def __init__(
        self,
        *,
        steps: Sequence[int] = (5, 8, 10, 10),
        lifting: int = 3,
        features: int = 32,
        blocks: int = 3,
        hidden: int = 48,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        self.image_channels = image_channels
        form = {"lifting": lifting, "features": features, "blocks": blocks, "hidden": hidden}
        self.levels = nn.ModuleList(Level(image_channels, steps=n, **form) for n in steps)
        self.register_buffer("initialised", torch.tensor(False))

    @property
    def factors(self) -> tuple[int, ...]:
        """Ratios of resolutions that the flow was made for."""
        return tuple(2 ** (level + 1) for level in range(len(self.levels)))

    def initialise(self, x: Float[Tensor, "b c h w"]) -> None:
        """Let every `ActNorm` standardise what reaches it from a few images; only the first time.

        That it has happened is stored with the weights, so loaded ones are never touched.
        """
        if self.initialised:
            return
        norms = [module for module in self.modules() if isinstance(module, ActNorm)]
        hooks = [norm.register_forward_pre_hook(ActNorm.standardise) for norm in norms]
        with torch.no_grad():
            self.encode(x, self.factors[-1])
        for hook in hooks:
            hook.remove()
        self.initialised.fill_(True)

    def densities(self, x: Float[Tensor, "b c h w"]) -> Iterator[tuple[Tensor, Tensor]]:
        """Level by level: the coarse image c_l, and log p(details of levels 1 to l | c_l) in nats.

        The second is (B,) and counts the change of volume from x to (c_l, details).
        """
        log_p = x.new_zeros(len(x))
        for level in self.levels:
            x, z, log_det = level(x)
            log_p = log_p + log_det + total(standard_normal(z).log_prob(z))
            yield x, log_p

    def log_prob(
        self, x: Float[Tensor, "b c h w"], y: Float[Tensor, "b c low_h low_w"]
    ) -> Float[Tensor, " batch"]:
        """log p(x | y), nats per image, a density over images in units of [0, 1].

        Images on a grid of 8 bits need noise of one step's width, or the density has no bound.

        Raises:
            ValueError: sizes that are not in one of the ratios `factors`.
        """
        factor = x.shape[-1] // max(1, y.shape[-1])
        if x.shape[-2:] != (factor * y.shape[-2], factor * y.shape[-1]):
            raise ValueError(
                f"SuperResolutionFlow.log_prob: {tuple(x.shape[-2:])} is not a multiple of "
                f"{tuple(y.shape[-2:])} by one factor. Expected x {self.factors} times as large."
            )
        *_, (low, log_p) = islice(self.densities(x), self._depth(x, factor))
        return log_p + total(gaussian(y, torch.full_like(y, LOW_STD)).log_prob(low))

    def encode(
        self, x: Float[Tensor, "b c h w"], factor: int
    ) -> tuple[Float[Tensor, "b c low_h low_w"], list[Tensor]]:
        """The coarse image c_L and the latents z_1 to z_L, from fine to coarse; L = log2(factor).

        Raises:
            ValueError: another factor, or an image that it does not divide.
        """
        latents = []
        for level in self.levels[: self._depth(x, factor)]:
            x, z, _ = level(x)
            latents.append(z)
        return x, latents

    def decode(
        self, low: Float[Tensor, "b c low_h low_w"], latents: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        """The inverse of `encode`, exact but for rounding."""
        for level, z in reversed(list(zip(self.levels, latents, strict=False))):
            low = level.inverse(low, z)
        return low

    def sample(
        self,
        y: Float[Tensor, "b c low_h low_w"],
        n: int,
        *,
        factor: int,
        temperature: float = 1.0,
        generator: Generator,
    ) -> Float[Tensor, "n batch c h w"]:
        """n images for each y, with latents of standard deviation `temperature`.

        At temperature 0 all are one and the same image: where the density of the latents is
        largest, which is not where that of the images is.

        Raises:
            ValueError: a factor that the flow was not made for, or a negative temperature.
        """
        check_generator("SuperResolutionFlow.sample", generator)
        if temperature < 0:
            raise ValueError(f"SuperResolutionFlow: temperature must be >= 0, got {temperature}.")
        depth = self._depth(y, factor, large=False)
        batch, channels, height, width = y.shape
        latents = []
        for level in range(1, depth + 1):
            scale = 2 ** (depth - level)
            like = y.new_empty(n * batch, 3 * channels, height * scale, width * scale)
            latents.append(temperature * normal_like(like, generator))
        return self.decode(y.repeat(n, 1, 1, 1), latents).unflatten(0, (n, batch))

    def _depth(self, image: Tensor, factor: int, large: bool = True) -> int:
        shape = (self.image_channels, "H", "W")
        check_shape("SuperResolutionFlow", image, shape, what="images")
        if factor not in self.factors:
            raise ValueError(
                f"SuperResolutionFlow: this flow knows the factors {self.factors}, got {factor}."
            )
        if large:
            check_multiple("SuperResolutionFlow", image, factor)
        return self.factors.index(factor) + 1


class Level(nn.Module):
    """An image to its half and to standard normal numbers, z, that say what is lost.

    1. `haar`: means of 2 x 2 blocks, and details. The means are nearly the image that a camera of
       half the resolution would take, so this is a good place to start.
    2. Lifting: coarse += f(details), details = (details + t(coarse)) exp(s(coarse)), some times.
       Each is inverted by the same formula with other signs, whatever the networks f, t, s are;
       they make the means that camera's image.
    3. Glow steps of the details, told the features of the coarse image.
    4. What is left is given mean 0 and variance 1 by those features.

    Source: Daubechies & Sweldens 1998, doi:10.1007/BF02476026 (lifting); Xiao et al. 2020,
    arXiv:2005.05650 (with networks).
    """

    steps: Any  # nn.ModuleList of `GlowStep`

    def __init__(
        self, channels: int, *, lifting: int, steps: int, features: int, blocks: int, hidden: int
    ) -> None:
        super().__init__()
        details = 3 * channels
        self.norm = ActNorm(details)
        self.update = nn.ModuleList(
            network(details, channels, hidden, "circular") for _ in range(lifting)
        )
        self.predict = nn.ModuleList(
            network(channels, 2 * details, hidden, "circular") for _ in range(lifting)
        )
        self.features = nn.Sequential(
            Centre(),
            conv(channels, features),
            *(ResidualBlock(features) for _ in range(blocks)),
            nn.SiLU(),
        )
        self.steps = nn.ModuleList(GlowStep(details, features, hidden) for _ in range(steps))
        self.base = scaled(conv(features, 2 * details), 0.0, 0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c, z, log |det d(c, z) / dx|), the last one (B,) in nats."""
        coarse, details, log_det = haar(x)
        details, change = self.norm(details)
        log_det = log_det + change
        for update, predict in zip(self.update, self.predict, strict=True):
            coarse = coarse + at_least_float32(update(details))
            shift, log_scale = shift_and_scale(predict(coarse))
            details = (details + shift) * log_scale.exp()
            log_det = log_det + total(log_scale)
        features = self.features(coarse)
        for step in self.steps:
            details, change = step(details, features)
            log_det = log_det + change
        shift, log_scale = shift_and_scale(self.base(features), BASE_REACH)
        return coarse, (details + shift) * log_scale.exp(), log_det + total(log_scale)

    def inverse(self, coarse: Tensor, z: Tensor) -> Tensor:
        """The image of twice the size."""
        features = self.features(coarse)
        shift, log_scale = shift_and_scale(self.base(features), BASE_REACH)
        details = z * (-log_scale).exp() - shift
        for step in reversed(self.steps):
            details = step.inverse(details, features)
        for update, predict in reversed(list(zip(self.update, self.predict, strict=True))):
            shift, log_scale = shift_and_scale(predict(coarse))
            details = details * (-log_scale).exp() - shift
            coarse = coarse - at_least_float32(update(details))
        return haar_inverse(coarse, self.norm.inverse(details))
