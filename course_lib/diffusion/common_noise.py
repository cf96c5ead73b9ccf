"""Potentials that are to be compared: the same noise and the same probes for all of them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from course_lib.diffusion.probability_flow import potential
from course_lib.diffusion.schedules import Denoiser
from course_lib.diffusion.trace import Hutchinson


@dataclass(frozen=True, eq=False)
class CommonNoisePotential:
    """q(x) = -log p_sigma(x + noise), nats per image, for images that are to be compared.

    A clean image is atypical of p_sigma, whose images all have noise: so each image gets its own
    noise, the same in every call. With the same probes as well, most of the estimation error
    cancels in differences between versions of one image; the errors of different images are
    independent and average out.

    Args:
        denoiser: D(x, sigma).
        noise: sigma times standard normal draws, one for each image, or zeros to leave images as
            they are.
        probes: (K, C, H, W), as in `Hutchinson`.
        sigma: noise level of the density.
        n_steps: number of steps of the solver.
    """

    denoiser: Denoiser
    noise: Float[Tensor, "b c h w"]
    probes: Float[Tensor, "k c h w"] | Float[Tensor, "k b c h w"]
    sigma: float
    n_steps: int = 6

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Potentials of x with the noise."""
        trace = Hutchinson(self.probes)
        return potential(self.denoiser, x + self.noise, self.n_steps, trace, sigma_min=self.sigma)
