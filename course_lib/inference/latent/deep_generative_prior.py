"""The deep generative prior: a generator whose weights give way to the image at hand.

What a generator can draw never includes the very image that was measured. So minimise over the
latent z and, from the coarse layers to the fine ones, over the weights theta of the generator:

    loss(z, theta) = w mean((A G_theta(z) - y)^2) + v d(A G_theta(z), y) + u / 2 mean(z^2),

with d a distance between features of the discriminator, which knew during training what matters
in such images. The weights start from the trained ones and move little; few steps are the prior.

Source: Pan, Zhan, Dai, Lin, Loy & Luo 2020, arXiv:2003.13659.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.optim import Adam

from course_lib.batch import inner
from course_lib.inference.latent.energy import LatentEnergy
from course_lib.inference.latent.feature_distance import FeatureDistance
from course_lib.inference.latent.generator import LatentGenerator
from course_lib.inference.latent.own_weights import OwnWeights, Weights
from course_lib.operators import Operator, measure
from course_lib.rng import check_generator, generator_from
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_measurement, check_not_negative


@dataclass(frozen=True)
class Phase:
    """Some steps of Adam, in which the coarse part of the generator learns.

    Args:
        blocks: number of blocks of the generator, from the coarse end, with free weights: 0 for
            the latent alone; more than there are means all.
        n_steps: number of steps.
        latent_rate: learning rate of the latent, about the change of a number in one step.
        weight_rate: learning rate of the weights.
        data_weight: w, the weight of the mean square residual.

    Raises:
        ValueError: a number that is negative or not finite.
    """

    blocks: int
    n_steps: int
    latent_rate: float
    weight_rate: float
    data_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("Phase", **asdict(self))


# Chosen for PSNR on four plates of the training, with a centre hole and at a quarter of the
# resolution: with all weights free at a rate of 1e-3, the network forgets what it has learned.
PHASES = (
    Phase(blocks=0, n_steps=80, latent_rate=5e-2, weight_rate=0.0),
    Phase(blocks=2, n_steps=60, latent_rate=5e-3, weight_rate=3e-4),
    Phase(blocks=4, n_steps=30, latent_rate=5e-3, weight_rate=2e-4),
    Phase(blocks=6, n_steps=30, latent_rate=5e-3, weight_rate=1e-4),
)


@dataclass(frozen=True, eq=False)
class Progression:
    """What learns, when, how fast, and when an image has learnt enough.

    Args:
        phases: phases, one after the other.
        blocks: parts of the generator from coarse to fine; stages and head of a `GAN` by default,
            else the direct children of the decoder or network that have weights.
        tau: an image stops at the discrepancy principle mean((A x - y)^2) <= tau sigma^2; 0 never
            stops.

    Raises:
        ValueError: no phase, or a tau that is negative or not finite.
    """

    phases: Sequence[Phase] = PHASES
    blocks: Sequence[nn.Module] | None = None
    tau: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("Progression", tau=self.tau)
        if not self.phases:
            raise ValueError("Progression: expected at least one phase, got 0.")


@dataclass(frozen=True)
class Penalties:
    """What the loss asks of an image beside its data.

    Args:
        features: v, weight of the distance of features. A model without discriminator needs 0.
        n_features: number of features that are compared, from the last.
        latent: u, weight of the mean square of the latent.

    Raises:
        ValueError: a weight that is negative or not finite.
    """

    features: float = 0.1
    n_features: int = 3
    latent: float = 0.02

    def __post_init__(self) -> None:
        check_not_negative("Penalties", features=self.features, latent=self.latent)


@dataclass(frozen=True)
class BestDraw:
    """Start from the draw of least loss, weighed as in the first phase.

    Args:
        n: number of draws, the same for all images.
        std: their standard deviation, in units of the prior's.

    Raises:
        ValueError: n < 1, or a std that is negative or not finite.
    """

    n: int = 500
    std: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("BestDraw", std=self.std)
        if self.n < 1:
            raise ValueError(f"BestDraw: expected at least one draw, got {self.n}.")


@dataclass(frozen=True, kw_only=True)
class DeepGenerativePriorSolution(Solution):
    """A Solution whose image was drawn by a generator of its own.

    Attributes:
        z: latents (B, ...).
        x_latent_only: the images before any weight moved, (B, C, H, W).
        weights: name of a parameter -> (B, ...), the weights that drew x, as far as they moved.
    """

    z: Tensor
    x_latent_only: Float[Tensor, "b c h w"]
    weights: Weights


@torch.enable_grad()
def deep_generative_prior(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    penalties: Penalties = Penalties(),
    progression: Progression = Progression(),
    z0: Tensor | BestDraw = BestDraw(),
    generator: Generator | None = None,
) -> DeepGenerativePriorSolution:
    """Fit latent and weights of a generator to each measurement; the model itself stays as it was.

    Every image has its own copy of the weights, and all images go through the generator at once.
    Batch normalisation keeps the statistics of its training. Given sigma, an image stops at the
    discrepancy principle: a network that may change its weights goes on to fit the noise. Without
    sigma only the number of steps prevents that.

        x = deep_generative_prior(gan, Inpainting(mask), y, generator=g).x
        x = deep_generative_prior(gan, Downsampling((1, 64, 64), 4, kernel), y, generator=g).x
        x = deep_generative_prior(colour_gan, Luminance((3, 64, 64)), y, generator=g).x

    Args:
        model: a `GAN`, or any generator that is a torch module, or a `Pushforward` of one; in
            evaluation mode.
        op: any operator; a linear one where features are compared.
        y: measurements (B, *op.measurement_size).
        sigma: standard deviation of the noise; that of op.noise_model by default, else 0.
        penalties: weights of the distance of features and of the latent.
        progression: phases of the descent, and its end.
        z0: latents (B, ...) to start from, or how to choose them.
        generator: source of the draws.

    Returns:
        DeepGenerativePriorSolution with x = G_theta(z) after the last step. History, one row per
        step and one for the end: "loss"; "data", the mean square residual over all numbers of y
        that A can reach; "phase". An image that has met the discrepancy principle keeps its
        latent and weights; "converged" if all have.

    Raises:
        ValueError: a model in training mode, without weights, or without the discriminator that
            it needs; shapes or blocks that do not fit; an option out of its range.
        TypeError: no torch.Generator for the draws; features of an operator that is not linear.
    """
    check_measurement("deep_generative_prior", op, y)
    sigma = float(getattr(op.noise_model, "sigma", 0.0) if sigma is None else sigma)
    check_not_negative("deep_generative_prior", sigma=sigma)
    loss = _Loss(op, y, penalties, _features(model, op, y, sigma, penalties))
    own, phases = OwnWeights(model, progression.blocks), progression.phases
    z = _start(model, loss, phases[0], z0, generator)
    fit = _Fit(loss, own, z, enough=progression.tau * sigma**2)
    for number, phase in enumerate(phases):
        fit.descend(number, phase)
    return fit.solution(phases[-1])


class _Fit:
    """Latent and weights of each image on their way, with what is recorded of them."""

    def __init__(self, loss: "_Loss", own: OwnWeights, z: Tensor, *, enough: float) -> None:
        self.loss, self.own, self.z, self.enough = loss, own, z, enough
        self.weights: Weights = {}
        self.optimiser, self.history = Adam([z]), History("loss", "data", "phase")
        self.met = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        self.reached = torch.zeros(len(z), device=z.device)  # phase of each image
        self.x_latent_only: Tensor | None = None

    def descend(self, number: int, phase: Phase) -> None:
        """The steps of a phase; an image that has met the discrepancy principle rests."""
        if self.met.all():
            return
        if phase.blocks and self.x_latent_only is None:
            self.x_latent_only = self.draw().detach()
        free = [self.z, *self.own.release(self.weights, phase.blocks, len(self.z))]
        _set_rates(self.optimiser, free, phase)
        for _ in range(phase.n_steps):
            loss = self.look(self.draw(), phase.data_weight, number)
            if self.met.all():
                return
            _step(self.optimiser, free, loss, frozen=self.met)

    def draw(self) -> Tensor:
        """G_theta(z), with the weights of each image."""
        return self.own.draw(self.z, self.weights)

    def look(self, x: Tensor, data_weight: float, number: int | None = None) -> Tensor:
        """Record the images of a phase, and see which of them explain their data well enough."""
        self.value, data = self.loss(x, self.z, data_weight)
        self.met = self.met | (data <= self.enough)
        if number is not None:
            self.reached = torch.where(self.met, self.reached, number)
        self.history.add(loss=self.value, data=data, phase=self.reached)
        return self.value

    def solution(self, last: Phase) -> DeepGenerativePriorSolution:
        """Where it has ended, and how."""
        x = self.draw().detach()
        if not self.met.all():
            self.look(x, last.data_weight)
        return DeepGenerativePriorSolution(
            x,
            status_of(self.met, ~self.value.isfinite()),
            self.history.stack(),
            len(self.history.rows["loss"]) - 1,
            z=self.z.detach(),
            x_latent_only=x if self.x_latent_only is None else self.x_latent_only,
            weights={name: w.detach() for name, w in self.weights.items()},
        )


@dataclass(frozen=True, eq=False)
class _Loss:
    """w mean((A x - y)^2) + v d(x) + u / 2 mean(z^2); the phase says w."""

    op: Operator
    y: Tensor
    penalties: Penalties
    features: FeatureDistance | None

    def __call__(self, x: Tensor, z: Tensor, data_weight: float) -> tuple[Tensor, Tensor]:
        """The loss of each image, and its mean square residual."""
        residual = measure(self.op, x) - self.y
        data = inner(residual, residual) / self._count
        value = data_weight * data + self._latent(z)
        if self.features is not None:
            value = value + self.penalties.features * self.features(x)
        return value, data

    def table(self, x: Tensor, z: Tensor, data_weight: float) -> Float[Tensor, "n m"]:
        """The loss of each of m images and latents, for each of the n measurements."""
        data = torch.cdist(self.y.flatten(1), self.op.A(x).flatten(1)).square() / self._count
        value = data_weight * data + self._latent(z)
        if self.features is not None:
            value = value + self.penalties.features * self.features.table(x)
        return value

    def _latent(self, z: Tensor) -> Tensor:
        return self.penalties.latent / 2 * z.flatten(1).square().mean(1)

    @cached_property
    def _count(self) -> Tensor:
        """How many numbers of y can differ from zero: the lost pixels of a mask measure nothing."""
        probe = torch.rand(1, *self.op.img_size, generator=generator_from(0)).to(self.y)
        return self.op.A(probe).count_nonzero()


def _set_rates(optimiser: Adam, free: list[Tensor], phase: Phase) -> None:
    """The rates of a phase; what was free before keeps its means of gradients."""
    optimiser.zero_grad()  # Adam leaves alone what has no gradient
    known = {id(p) for group in optimiser.param_groups for p in group["params"]}
    new = [p for p in free if id(p) not in known]
    if new:
        optimiser.add_param_group({"params": new})
    for group in optimiser.param_groups:
        group["lr"] = phase.weight_rate
    optimiser.param_groups[0]["lr"] = phase.latent_rate


def _step(optimiser: Adam, free: list[Tensor], loss: Tensor, *, frozen: Tensor) -> None:
    """One step of Adam for the free variables of the images that are not frozen."""
    slopes = torch.autograd.grad(loss.sum(), free)
    for variable, slope in zip(free, slopes, strict=True):
        variable.grad = slope
    still = [variable.detach()[frozen] for variable in free]
    optimiser.step()
    for variable, value in zip(free, still, strict=True):
        variable.data[frozen] = value


def _features(
    model: LatentGenerator, op: Operator, y: Tensor, sigma: float, penalties: Penalties
) -> FeatureDistance | None:
    if not penalties.features:
        return None
    discriminator = getattr(model, "discriminator", None)
    if discriminator is None:
        raise ValueError(
            f"deep_generative_prior: {type(model).__name__} has no discriminator whose features "
            "could be compared. Use Penalties(features=0)."
        )
    return FeatureDistance(discriminator, op, y, sigma, penalties.n_features)


@torch.no_grad()
def _start(
    model: LatentGenerator,
    loss: _Loss,
    phase: Phase,
    z0: Tensor | BestDraw,
    generator: Generator | None,
) -> Tensor:
    """The given latents, or the best of the draws, for the loss of the first phase."""
    image = LatentEnergy(model, loss.op, loss.y, 1.0).image  # refuses what does not fit
    if isinstance(z0, BestDraw):
        generator = check_generator("deep_generative_prior", generator)
        pool = z0.std * model.prior(z0.n, generator=generator).to(loss.y)
        z = pool[loss.table(image(pool), pool, phase.data_weight).argmin(1)]
    else:
        z = z0.detach().clone()
        if len(z) != len(loss.y):
            raise ValueError(
                f"deep_generative_prior: expected a z0 for each of {len(loss.y)} measurements, "
                f"got {len(z)}."
            )
        image(z)
    return z.requires_grad_()
