"""Photographs by plug-and-play: a denoiser in the place of a prior."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from course_lib.inference.plug_and_play import (
    FallingLevels,
    half_quadratic_splitting,
    matched_to_noise,
)
from course_lib.operators import Inpainting
from course_lib.protocols import Denoiser
from course_lib.restore.networks import apply_in_tiles
from course_lib.restore.penalties import tychonov_estimate
from course_lib.restore.photographs import PaddedProblem, Restoration
from course_lib.solvers import Solution

PART = 96  # side of the part of a photograph that chooses the weight, in its pixels
LEVELS = FallingLevels()
OVERLAP = 16  # of tiles, in pixels
START_WEIGHT = 1e-3  # of Tychonov's penalty


@dataclass(frozen=True, eq=False)
class DenoisingPrior:
    """The estimate of half-quadratic splitting; for noise alone, the denoised photograph.

    It starts from Tychonov's estimate, which also fills lost pixels.

    Args:
        denoiser: D(x, sigma), of grey images.
        weight: of the prior; by default the one whose misfit is that of noise, found on a part of
            the photograph for each of its greys.
        levels: the noise levels that the denoiser is called with.
        tile: side of what it works on at once, in pixels, so that its memory does not grow with
            the photograph.
        device: where the arithmetic is done.
        name: name of the denoiser, for reports.
    """

    denoiser: Denoiser
    weight: float | None = None
    levels: FallingLevels = LEVELS
    tile: int = 64
    device: str = "cpu"
    name: str | None = None
    stride = 1

    @property
    def facts(self) -> dict[str, str | int | None]:
        """What a report says of the method."""
        return {"method": "pnp", "model": self.name, "steps": self.levels.n, "seed": None}

    def restore(self, problem: PaddedProblem, *, progress: bool = False) -> Restoration:
        """The photograph, each of its greys with its own weight; that of the first is told.

        Raises:
            ArithmeticError: the denoiser left the finite numbers.
        """
        if isinstance(problem.op, Inpainting) and problem.seen.all():
            return problem.restoration(self._denoise(problem.y, problem.sigma))
        weights, greys = [], []
        with tqdm(total=len(problem.y) * self.levels.n, disable=not progress) as bar:
            for grey in problem.greys():
                weights.append(self.weight or self._weight(grey.part(PART)))
                greys.append(self._alternate(grey, tick=bar.update)(weights[-1]).x)
        x = torch.cat(greys)
        if not x.isfinite().all():
            raise ArithmeticError("Plug-and-play left the finite numbers.")
        return problem.restoration(x, weight=weights[0])

    def _weight(self, part: PaddedProblem) -> float:
        return matched_to_noise(self._alternate(part)).weight.item()

    def _alternate(
        self, grey: PaddedProblem, tick: Callable[[], object] = lambda: None
    ) -> Callable[[float], Solution]:
        """Half-quadratic splitting as a function of the weight."""
        x0 = tychonov_estimate(grey, None, START_WEIGHT)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            tick()
            return self._denoise(x, sigma)

        def run(weight: float) -> Solution:
            options = {"sigma": grey.sigma, "weight": weight, "levels": self.levels}
            return half_quadratic_splitting(grey.op, grey.y, denoise, x0=x0, **options)

        return run

    def _denoise(self, x: Tensor, sigma: float) -> Tensor:
        """D in tiles; an image that is smaller than one is continued by its border."""
        height, width = x.shape[-2:]
        larger = pad(x, (0, max(self.tile - width, 0), 0, max(self.tile - height, 0)), "replicate")
        found = apply_in_tiles(
            lambda part, _: self.denoiser(part, sigma), larger, tile=self.tile, overlap=OVERLAP
        )
        return found[..., :height, :width]
