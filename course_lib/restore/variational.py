"""Photographs by variational Bayes."""

from dataclasses import dataclass

import torch
from tqdm import tqdm

from course_lib.inference.vble.descent import StochasticAdam
from course_lib.inference.vble.posterior import N_DRAWS, RunningMoments
from course_lib.inference.vble.vble import VARIANTS, VBLE
from course_lib.models.vae import VAE
from course_lib.restore.photographs import PaddedProblem, Restoration
from course_lib.restore.tiled_decoder import TiledDecoder
from course_lib.rng import generator_from


@dataclass(frozen=True, eq=False)
class VariationalBayes:
    """The posterior mean by `VBLE`, its standard deviation, and samples.

    Args:
        vae: convolutional, of grey images.
        variant: one of the five settings of `VBLE`.
        n_steps: number of steps of the descent.
        n_draws: number of draws behind mean and standard deviation, never held together.
        n_samples: number of these draws to return.
        tile: side of the largest square of pixels that the network works on at once.
        seed: seed of all draws.
        name: name of the prior, for reports.

    Raises:
        ValueError: an unknown variant, more samples than draws, fewer than two draws.
    """

    vae: VAE
    variant: str = "VBLE-xz"
    n_steps: int = 300
    n_draws: int = N_DRAWS
    n_samples: int = 4
    tile: int = 1024
    seed: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(
                f"VariationalBayes: there is {', '.join(VARIANTS)}; got {self.variant!r}."
            )
        if not 0 <= self.n_samples <= self.n_draws or self.n_draws < 2:
            raise ValueError(
                "VariationalBayes: expected n_draws >= 2 and 0 <= n_samples <= n_draws, got "
                f"{self.n_draws} and {self.n_samples}."
            )

    @property
    def facts(self) -> dict[str, str | int | None]:
        """What a report says of the method."""
        facts = {"method": self.variant, "model": self.name, "steps": self.n_steps}
        return facts | {"seed": self.seed, "tile": self.tile}

    @property
    def device(self) -> torch.device:
        """Where the prior lies."""
        return self.vae.noise_std.device

    @property
    def stride(self) -> int:
        """Pixels a latent."""
        return TiledDecoder(self.vae, tile=self.tile).stride

    def restore(self, problem: PaddedProblem, *, progress: bool = False) -> Restoration:
        """Mean, standard deviation and samples on the canvas.

        Raises:
            ArithmeticError: the descent left the finite numbers.
        """
        decodings = 1 + self.n_steps + self.n_draws  # 1 for the first guess
        pixels = decodings * len(problem.y) * problem.op.img_size[1] * problem.op.img_size[2]
        with tqdm(total=pixels, unit="px", unit_scale=True, disable=not progress) as bar:
            prior = TiledDecoder(self.vae, tile=self.tile, tick=bar.update)
            generator = generator_from(self.seed)
            posterior = VBLE.variant(self.variant, prior).fit(
                problem.op, problem.y, optimiser=StochasticAdam(self.n_steps), generator=generator
            )
            if posterior.status == "diverged":
                raise ArithmeticError(f"{self.variant} left the finite numbers.")
            if posterior.is_point:
                return problem.restoration(posterior.decoded)
            canvas, photo, samples = RunningMoments(), RunningMoments(), []
            for n in range(self.n_draws):
                x = posterior.sample(1, generator)
                shown = problem.photo(x[0])
                canvas.add(x)
                photo.add(shown[None])
                samples += [shown] * (n < self.n_samples)
        return problem.restoration(canvas.mean, samples=samples, std=photo.moments().std)
