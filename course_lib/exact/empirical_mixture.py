"""A finite set of images, whose noisy versions are a mixture of Gaussians."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.exact.stationary_gaussian import variance
from course_lib.rng import normal_like


@dataclass(frozen=True, eq=False)
class EmpiricalMixture:
    """A sum of Diracs at given images: the optimum of a diffusion model trained on them alone.

    p_sigma is a mixture of Gaussians at the images, and the denoiser their average with the
    weights softmax(-|x - c_k|^2 / (2 sigma^2)).

    Args:
        centres: the images, (K, C, H, W).

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
        v = torch.as_tensor(variance(sigma), dtype=x.dtype, device=x.device).reshape(-1)
        log_scale = n / 2 * (2 * math.pi * v).log()
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
        v = torch.as_tensor(variance(sigma), dtype=x.dtype, device=x.device)
        return -distances / (2 * v.reshape(-1, 1))
