"""The distribution of an image after variational Bayes: draws, moments, coverage."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.inference.latent.generator import LatentGenerator
from course_lib.inference.vble.factors import (
    STANDARD_NORMAL,
    Eps,
    GaussianPosterior,
    Parameters,
    draw_eps,
)
from course_lib.inference.vble.objective import repeat
from course_lib.metrics import interval_coverage
from course_lib.rng import check_generator
from course_lib.solvers.solution import Status

N_DRAWS = 100  # behind `.mean` and `.std`, as published
AT_ONCE = 64  # images that go through the decoder together


class Moments(NamedTuple):
    """Moments of each pixel."""

    mean: Tensor
    std: Tensor  # with n - 1 degrees of freedom, in the unit of the image


class RunningMoments:
    """Count, mean and sum of squared deviations of all draws so far.

    Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, draws: Tensor) -> None:
        """Take in k more draws, (k, ...)."""
        k, mean = len(draws), draws.mean(0)
        gap, within = mean - self.mean, (draws - mean).square().sum(0)
        total = self.n + k
        self.squares = self.squares + within + self.n * k / total * gap.square()
        self.mean, self.n = self.mean + k / total * gap, total

    def moments(self) -> Moments:
        """Moments so far; NaN as the standard deviation of a single draw."""
        return Moments(self.mean, (self.squares / (self.n - 1)).sqrt())


@dataclass(frozen=True, eq=False)
class VariationalPosterior:
    """What `VBLE.fit` found. Where everything is a point, draws are alike and need no generator.

    Attributes:
        model: the prior, a copy of the network that was given.
        parameters: those of q, "m" and where they are free "log_a", "nu" and "log_b"; for a prior
            with a latent h above z also "m_h" and "log_a_h".
        status: "converged" if an optimiser with fixed draws came to rest, "diverged" if the
            objective left the finite numbers for any image, else "max_iter".
        history: "objective", (rows, B): minus the ELBO in nats as each step estimated it.
        generator: source of the draws behind `.mean` and `.std`.
    """

    model: LatentGenerator
    parameters: Parameters
    status: Status
    history: dict[str, Tensor]
    generator: Generator | None = None

    def sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n b c h w"]:
        """n draws of the image for each measurement.

        Raises:
            ValueError: n < 1.
            TypeError: no generator.
        """
        return torch.cat(list(self._pieces("sample", n, 1, generator)))

    def moments(self, n: int, generator: Generator | None) -> Moments:
        """Mean and standard deviation of each pixel over the n draws of `sample`, never held
        together.

        Raises:
            ValueError: n < 2.
            TypeError: no generator.
        """
        running = RunningMoments()
        for draws in self._pieces("moments", n, 2, generator):
            running.add(draws)
        if self.is_point:
            return Moments(self.decoded, torch.zeros_like(self.decoded))
        return running.moments()

    @property
    def mean(self) -> Float[Tensor, "b c h w"]:
        """E[x | y], the estimate of least square error, by 100 draws.

        They come from the generator that `fit` was given, or rather from a copy in the state in
        which `fit` left it: the caller's own does not advance. `moments` takes another number.
        """
        return self._moments.mean

    @property
    def std(self) -> Float[Tensor, "b c h w"]:
        """Standard deviation of each pixel over the same draws, in the unit of the image."""
        return self._moments.std

    @cached_property
    def decoded(self) -> Float[Tensor, "b c h w"]:
        """G(m) + nu: the image at the mean latent, without any draw."""
        return self._images({k: v for k, v in self.parameters.items() if k in ("m", "nu")}, {})

    def coverage(
        self,
        truth: Float[Tensor, "b c h w"],
        n: int,
        generator: Generator | None,
        *,
        alpha: float = 0.9,
        corrected: bool = False,
    ) -> Float[Tensor, " b"]:
        """Part of the pixels whose truth lies in their `interval_coverage` by n draws."""
        return interval_coverage(self.sample(n, generator), truth, alpha, corrected=corrected)

    @property
    def is_point(self) -> bool:
        """Whether neither factor is random."""
        return not {"log_a", "log_b"} & set(self.parameters)

    @cached_property
    def _moments(self) -> Moments:
        return self.moments(N_DRAWS, self.generator and self.generator.clone_state())

    @torch.no_grad()
    def _images(self, free: Parameters, eps: Eps) -> Tensor:
        q = GaussianPosterior.of(free)
        z = q.z.draw(STANDARD_NORMAL, eps.get("z"))
        return q.x.draw(self.model.decode(z), eps.get("x"))

    def _pieces(
        self, method: str, n: int, least: int, generator: Generator | None
    ) -> Iterator[Float[Tensor, "k b c h w"]]:
        """n draws in pieces of about `AT_ONCE` images."""
        if n < least:
            raise ValueError(f"VariationalPosterior.{method}: expected n >= {least}, got {n}.")
        if self.is_point:
            yield self.decoded.expand(n, *self.decoded.shape)
            return
        check_generator(f"VariationalPosterior.{method}", generator)
        batch = len(self.parameters["m"])
        at_once = max(1, AT_ONCE // batch)
        for first in range(0, n, at_once):
            k = min(at_once, n - first)
            eps = {
                name: e.flatten(0, 1) for name, e in draw_eps(self.parameters, k, generator).items()
            }
            free = {name: repeat(part, k) for name, part in self.parameters.items()}
            yield self._images(free, eps).unflatten(0, (k, batch))
