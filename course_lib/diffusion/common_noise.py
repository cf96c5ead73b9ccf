"""Potentials that are to be compared: the same noise and the same probes for all of them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from course_lib.diffusion.probability_flow import potential
from course_lib.diffusion.quadrature import GaussLegendre
from course_lib.diffusion.schedules import Denoiser
from course_lib.diffusion.trace import Hutchinson, Probing


@dataclass(frozen=True, eq=False)
class CommonNoisePotential:
    """q(x) = -log p_sigma(x + noise), nats per image, for images that are to be compared.

    With zeros for the noise, q(h * x) - q(x) is the quantity of a statement about blur. With
    noise it is another one, q(h * x + noise) - q(x + noise), since h * x + noise is no blurred
    version of x + noise. Each image has its own noise, the same in every call. With the same
    probes as well, most of the estimation error cancels in differences between versions of one
    image.

    Args:
        denoiser: D(x, sigma).
        noise: sigma times standard normal draws, one for each image, or zeros to leave images as
            they are.
        trace: the probes.
        sigma: noise level of the density.
        n_steps: number of steps of the solver, or the nodes at which the trace is taken.
    """

    denoiser: Denoiser
    noise: Float[Tensor, "b c h w"]
    trace: Hutchinson | Probing
    sigma: float
    n_steps: int | GaussLegendre = 10

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Potentials of x with the noise."""
        x, sigma = x + self.noise, self.sigma
        return potential(self.denoiser, x, self.n_steps, self.trace, sigma_min=sigma)
