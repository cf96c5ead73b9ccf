"""Laws of images whose noisy versions are known in closed form: what networks are tested against.

For p_0 the law of images and p_sigma that of x_0 + sigma w, each class gives the best denoiser
D(x, sigma) = E[x_0 | x_0 + sigma w = x], samples, and the potential -log p_sigma.
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
        mean: of every pixel.
        img_size: (C, H, W) of one image.

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
        gain = self.spectrum / (self.spectrum + _variance(sigma))
        return self.mean + filter_image(x - self.mean, gain)

    def potential(
        self, x: Float[Tensor, "b c h w"], sigma: float | Tensor = 0.0
    ) -> Float[Tensor, " b"]:
        """-log p_sigma(x), nats per image."""
        _, height, width = self.img_size
        variance = self.spectrum + _variance(sigma)
        weights = half_spectrum_weights((height, width)).to(self.spectrum)
        energy = squared_modulus(torch.fft.rfft2(x - self.mean)) / (height * width)
        log_det = (weights * (2 * math.pi * variance).log()).expand_as(energy)
        return (weights * energy / variance + log_det).flatten(1).sum(1) / 2

    def sample(
        self, n: int, *, generator: Generator, sigma: float = 0.0
    ) -> Float[Tensor, "n c h w"]:
        """n images from p_sigma."""
        white = normal_like(self.spectrum.new_empty(n, *self.img_size), generator)
        return self.mean + filter_image(white, (self.spectrum + sigma**2).sqrt())


def power_law(
    img_size: tuple[int, int, int], std: float = 0.2, knee: float = 0.045, mean: float = 0.5
) -> StationaryGaussian:
    """S proportional to 1 / (knee^2 + |f|^2), like photographs above the frequency `knee`.

    Args:
        std: of a pixel.
        knee: in cycles per pixel.
    """
    size = img_size[-2:]
    rows, columns = frequencies(size)
    shape = 1 / (knee**2 + rows**2 + columns**2)
    per_pixel = (half_spectrum_weights(size) * shape).sum() / math.prod(size)
    return StationaryGaussian(std**2 * shape / per_pixel, tuple(img_size), mean)


@dataclass(frozen=True, eq=False)
class EmpiricalMixture:
    """A sum of Diracs at given images: what a diffusion model learns that knows them by heart.

    p_sigma is a mixture of Gaussians at the images, and the denoiser their average with the
    weights softmax(-|x - c_k|^2 / (2 sigma^2)).

    Args:
        centres: (K, C, H, W).

    Source: Karras et al. 2022, arXiv:2206.00364, appendix B.3.
    """

    centres: Float[Tensor, "k c h w"]

    def __call__(self, x: Float[Tensor, "b c h w"], sigma: float | Tensor) -> Tensor:
        """D(x, sigma), for sigma > 0."""
        weights = self._log_weights(x, sigma).softmax(1)
        return (weights @ self.centres.flatten(1)).view_as(x)

    def potential(self, x: Float[Tensor, "b c h w"], sigma: float | Tensor) -> Float[Tensor, " b"]:
        """-log p_sigma(x), nats per image, for sigma > 0: by log-sum-exp, no number overflows."""
        n, count = x[0].numel(), len(self.centres)
        variance = torch.as_tensor(_variance(sigma), dtype=x.dtype, device=x.device).reshape(-1)
        log_scale = n / 2 * (2 * math.pi * variance).log()
        return log_scale + math.log(count) - self._log_weights(x, sigma).logsumexp(1)

    def sample(
        self, n: int, *, generator: Generator, sigma: float = 0.0
    ) -> Float[Tensor, "n c h w"]:
        """n images from p_sigma."""
        drawn = torch.randint(len(self.centres), (n,), generator=generator)
        chosen = self.centres[drawn.to(self.centres.device)]
        return chosen + sigma * normal_like(chosen, generator)

    def _log_weights(self, x: Tensor, sigma: float | Tensor) -> Float[Tensor, "b k"]:
        """-|x - c_k|^2 / (2 sigma^2)."""
        # Differences, not |x|^2 - 2 <x, c> + |c|^2, which cancels where x is close to a centre.
        distances = (x[:, None] - self.centres).flatten(2).square().sum(2)
        variance = torch.as_tensor(_variance(sigma), dtype=x.dtype, device=x.device)
        return -distances / (2 * variance.reshape(-1, 1))


def _variance(sigma: float | Tensor) -> float | Tensor:
    """sigma^2, which broadcasts against images if sigma is one number for each image, (B,)."""
    if isinstance(sigma, Tensor) and sigma.ndim:
        return per_image(sigma, torch.empty(1, 1, 1, 1)).square()
    return sigma**2
