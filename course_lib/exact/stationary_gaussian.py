"""A Gaussian of images whose noisy versions are known: what networks are tested against.

For p_0 the distribution of images and p_sigma that of x_0 + sigma w, each world of this folder has
the best denoiser D(x, sigma) = E[x_0 | x_0 + sigma w = x], samples, and the potential
-log p_sigma.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.batch import per_image
from course_lib.fourier import filter_image, frequencies, half_spectrum_weights, squared_modulus
from course_lib.rng import normal_like


@dataclass(frozen=True, eq=False)
class StationaryGaussian:
    """N(mean, C) with C the same at every pixel of a periodic image: diagonal in Fourier.

    Args:
        spectrum: S > 0 on the half grid of rfft2, (H, W // 2 + 1): the eigenvalues of C, thus the
            variance of a pixel is their mean over the full grid. Channels are independent.
        img_size: (C, H, W) of one image.
        mean: mean of every pixel.

    Raises:
        ValueError: a spectrum of another shape, or not positive.
    """

    spectrum: Float[Tensor, "h w2"]
    img_size: tuple[int, int, int]
    mean: float = 0.5

    def __post_init__(self) -> None:
        _, height, width = self.img_size
        expected = (height, width // 2 + 1)
        if self.spectrum.shape != expected or not (self.spectrum > 0).all():
            raise ValueError(
                f"StationaryGaussian: expected a spectrum of shape {expected}, all positive, got "
                f"{tuple(self.spectrum.shape)} with minimum {self.spectrum.min().item():.3g}."
            )

    def __call__(self, x: Float[Tensor, "b c h w"], sigma: float | Tensor) -> Tensor:
        """D(x, sigma) = mean + C (C + sigma^2)^-1 (x - mean)."""
        gain = self.spectrum / (self.spectrum + variance(sigma))
        return self.mean + filter_image(x - self.mean, gain)

    def potential(
        self, x: Float[Tensor, "b c h w"], sigma: float | Tensor = 0.0
    ) -> Float[Tensor, " b"]:
        """-log p_sigma(x), nats per image."""
        _, height, width = self.img_size
        noisy = self.spectrum + variance(sigma)
        weights = half_spectrum_weights((height, width)).to(self.spectrum)
        energy = squared_modulus(torch.fft.rfft2(x - self.mean)) / (height * width)
        log_det = (weights * (2 * math.pi * noisy).log()).expand_as(energy)
        return (weights * energy / noisy + log_det).flatten(1).sum(1) / 2

    def sample(
        self, n: int, *, generator: Generator, sigma: float = 0.0
    ) -> Float[Tensor, "n c h w"]:
        """n images from p_sigma."""
        eps = normal_like(self.spectrum.new_empty(n, *self.img_size), generator)
        return self.mean + filter_image(eps, (self.spectrum + sigma**2).sqrt())


def power_law(
    img_size: tuple[int, int, int], std: float = 0.2, knee: float = 0.045, mean: float = 0.5
) -> StationaryGaussian:
    """S proportional to 1 / (knee^2 + |f|^2), like photographs above the frequency `knee`.

    Args:
        img_size: (C, H, W) of one image.
        std: standard deviation of a pixel.
        knee: frequency below which the spectrum is flat, in cycles per pixel.
        mean: mean of every pixel.
    """
    size = img_size[1:]
    rows, columns = frequencies(size)
    shape = 1 / (knee**2 + rows**2 + columns**2)
    per_pixel = (half_spectrum_weights(size) * shape).sum() / math.prod(size)
    return StationaryGaussian(std**2 * shape / per_pixel, img_size, mean)


def variance(sigma: float | Tensor) -> float | Tensor:
    """sigma^2, which broadcasts against images if sigma is one number for each image, (B,)."""
    if isinstance(sigma, Tensor) and sigma.ndim:
        return per_image(sigma, torch.empty(1, 1, 1, 1)).square()
    return sigma**2
