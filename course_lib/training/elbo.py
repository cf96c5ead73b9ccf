"""The objective of variational autoencoders, whose noise level follows the residual."""

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from course_lib.models.vae import VAE, rate, reparameterise
from course_lib.rng import generator_from
from course_lib.training.objective import Objective


class NegativeElbo(Objective):
    """Minus the ELBO in nats per dimension, with the noise level of the decoder kept optimal.

    The best s^2 is the mean squared residual (set the derivative of the ELBO to zero), so it is
    followed, not learned: steps on log s lag behind the decoder. A floor above it makes latents
    dearer, and the prior smoother. The rate is faded in over the first tenth.
    """

    def __init__(self, model: VAE, held_out: Tensor, *, noise_floor: float = 0.0) -> None:
        self.model, self.held_out, self.noise_floor = model, held_out, noise_floor

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the ELBO, with the rate weighted by `warm_up`."""
        return negative_elbo(self.model, batch, warm_up(done), generator, self.noise_floor)

    def after_step(self, figures: dict[str, float]) -> None:
        """Let the noise level follow the residual of the joint batch."""
        follow_residual(self.model, figures["mse"], self.noise_floor)

    def preview(self, model: VAE) -> Tensor:
        """Eight held-out images, their reconstructions, and 16 samples of the prior."""
        shown = self.held_out[:8]
        return torch.cat(
            [shown, model.reconstruct(shown), model.sample(16, generator=generator_from(0))]
        )


class UnscaledElbo(NegativeElbo):
    """Mean square error a pixel plus the rate an image, which only looks like minus the ELBO.

    In nats per image the distortion is n / (2 s^2) times the mean square error of n pixels, some
    thousand times more: with this loss the rate decides, and all latents collapse (erratum E42).
    """

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean square error + beta KL, with the rate weighted by `warm_up`."""
        q = self.model.encode(batch)
        mse = mse_loss(self.model.decode(reparameterise(q, generator)).mean, batch)
        return mse + warm_up(done) * rate(q).mean(), {}

    def after_step(self, figures: dict[str, float]) -> None:
        """Nothing: the loss has no noise level."""


def warm_up(done: float) -> float:
    """Weight of the rate: from 0 to 1 over the first tenth of the training."""
    return min(1.0, done / 0.1)


def negative_elbo(
    vae: VAE, x: Tensor, beta: float, generator: Generator, noise_floor: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Distortion + beta rate, averaged over the batch, in nats per dimension."""
    q = vae.encode(x)
    mse = mse_loss(vae.decode(reparameterise(q, generator)).mean, x)
    nats = rate(q).mean() / x[0].numel()
    # The batch's own residual guards against a running value that is far too small at the start.
    s = torch.maximum(vae.noise_std, 0.75 * mse.detach().sqrt()).clamp(min=max(noise_floor, 1e-3))
    distortion = 0.5 * mse / s**2 + s.log() + 0.5 * math.log(2 * math.pi)
    return distortion + beta * nats, {"mse": mse.detach(), "rate": nats.detach() * x[0].numel()}


def follow_residual(vae: VAE, mse: float, noise_floor: float = 0.0) -> None:
    """Move the noise level a fiftieth of the way to the root mean square residual."""
    if math.isfinite(mse):
        vae.noise_std.lerp_(torch.as_tensor(max(mse**0.5, noise_floor)).to(vae.noise_std), 0.02)
