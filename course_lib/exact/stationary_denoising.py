"""Denoising of stationary Gaussian images: the posterior in closed form, in Fourier.

For a periodic image whose spectrum is S = E |F (x - mean)|^2 and y = x + noise of standard
deviation sigma, with N = sigma^2 H W the spectrum of the noise, x given y is Gaussian: its mean
is Wiener's estimate, and its deviation from it has the spectrum V = S N / (S + N).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Generator, Tensor
from torch.fft import irfft2, rfft2

from course_lib.batch import image_size
from course_lib.operators import Denoising
from course_lib.rng import normal_like
from course_lib.solvers import wiener


@dataclass(frozen=True, eq=False)
class StationaryPosterior:
    """p(x | y) of the module's formula.

    Attributes:
        mean: posterior mean, (B, 1, H, W).
        spectrum: S on the half grid of rfft2.
        variance: V on the half grid.
    """

    mean: Float[Tensor, "b 1 h w"]
    spectrum: Float[Tensor, "#b 1 h w2"]
    variance: Float[Tensor, "#b 1 h w2"]

    def deviations(self, n: int, generator: Generator) -> Float[Tensor, "n b 1 h w"]:
        """n draws of x - mean."""
        size = tuple(self.mean.shape[-2:])
        shape = (n, *self.variance.shape[:-2], *size)
        eps = normal_like(self.variance.new_empty(shape), generator)
        scale = (self.variance / (size[0] * size[1])).sqrt()
        return irfft2(scale * rfft2(eps), s=size)

    def stretched(self, share: float) -> Float[Tensor, "b 1 h w"]:
        """The mean, moved by a share (0 to 1) of the way to an image with the spectrum S.

        The mean has the spectrum S - V; the factor sqrt(S / (S - V)) on each mode gives it S at
        the least error. In this world the straight line between the two is the best trade-off of
        square error and Wasserstein distance: Freirich, Michaeli & Meir 2021, arXiv:2107.02555.
        """
        level = self.mean.mean((1, 2, 3), keepdim=True)
        gain = 1 + share * ((self.spectrum / (self.spectrum - self.variance)).sqrt() - 1)
        return level + irfft2(gain * rfft2(self.mean - level), s=self.mean.shape[-2:])


def stationary_posterior(
    y: Float[Tensor, "b 1 h w"], sigma: float, spectrum: Float[Tensor, "#b 1 h w2"]
) -> StationaryPosterior:
    """p(x | y) for images y with Gaussian noise of standard deviation sigma.

    Args:
        y: noisy images; the mean brightness of each is taken from y itself.
        sigma: standard deviation of the noise.
        spectrum: S, on the half grid of rfft2.
    """
    level = y.mean((1, 2, 3), keepdim=True)
    noise = sigma**2 * y.shape[-2] * y.shape[-1]
    mean = level + wiener(Denoising(image_size(y)), y - level, sigma, spectrum).x
    return StationaryPosterior(mean, spectrum, spectrum * noise / (spectrum + noise))
