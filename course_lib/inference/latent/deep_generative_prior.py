"""The deep generative prior: a generator whose weights give way to the image at hand.

What a generator can draw never includes the very image that was measured. So minimise over the
latent z and, from the coarse layers to the fine ones, over the weights theta of the generator:

    loss(z, theta) = w mean((A G_theta(z) - y)^2) + v d(A G_theta(z), y) + u / 2 mean(z^2),

with d a distance between features of the discriminator, which knew during training what matters
in such images. The weights start from the trained ones and move little; few steps are the prior.

Source: Pan, Zhan, Dai, Lin, Loy & Luo 2020, arXiv:2003.13659.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn, vmap
from torch.func import functional_call
from torch.optim import Adam

from course_lib.batch import inner
from course_lib.inference.latent.map_latent import (
    PIXEL_STD,
    LatentEnergy,
    LatentGenerator,
    Pushforward,
)
from course_lib.models.gan import GAN, Discriminator
from course_lib.operators import LinearOperator, Operator
from course_lib.rng import check_generator, generator_from
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_measurement

SMALLEST_NOISE = 0.01  # in the images whose features are compared: no more faith in y than this
Weights = dict[str, Tensor]  # name of a parameter -> its value for each image, (B, ...)


class Phase(NamedTuple):
    """Some steps of Adam, in which the coarse part of the generator learns.

    Attributes:
        blocks: how many blocks of the generator, from the coarse end, have free weights: 0 for
            the latent alone; more than there are means all.
        steps: number of steps.
        latent_rate, weight_rate: learning rates, about the change of a number in one step.
        data_weight: w, of the mean square misfit.
    """

    blocks: int
    steps: int
    latent_rate: float
    weight_rate: float
    data_weight: float = 1.0


# Chosen for PSNR on four plates of the training, with a centre hole and at a quarter of the
# resolution: with all weights free at a rate of 1e-3, the network forgets what it has learned.
PHASES = (
    Phase(blocks=0, steps=80, latent_rate=5e-2, weight_rate=0.0),
    Phase(blocks=2, steps=60, latent_rate=5e-3, weight_rate=3e-4),
    Phase(blocks=4, steps=30, latent_rate=5e-3, weight_rate=2e-4),
    Phase(blocks=6, steps=30, latent_rate=5e-3, weight_rate=1e-4),
)


@dataclass(frozen=True, kw_only=True)
class DeepGenerativePriorSolution(Solution):
    """A Solution whose image was drawn by a generator of its own.

    Attributes:
        z: latents (B, ...).
        x_latent_only: the images before any weight moved, (B, C, H, W).
        weights: on request, name of a parameter -> (B, ...), the weights that drew x.
    """

    z: Tensor
    x_latent_only: Float[Tensor, "b c h w"]
    weights: Weights | None = None


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """d(x) = sum over i of mean |D_i(S A x) - D_i(S y)|, one value per image; 0 where A x = y.

    D_i are the last features of a discriminator, which looks at images. S makes an image of any
    measurement: the mean of x given y, were images N(1/2, 1/16 I). It enlarges what was
    downsampled, leaves grey what is lost, and does not blow up noise as a pseudo-inverse would.

    Args:
        discriminator: that of a `GAN`.
        op: a linear operator.
        y: measurements (n, *op.measurement_size).
        sigma: standard deviation of the noise; less than 0.01 counts as 0.01.
        n_features: how many of the features, from the last.

    Raises:
        TypeError: an operator that is not linear.
        ValueError: more features than there are.
    """

    discriminator: Discriminator
    op: Operator
    y: Tensor
    sigma: float = 0.0
    n_features: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.op, LinearOperator):
            raise TypeError(
                f"FeatureDistance: {type(self.op).__name__} is not linear, so its measurements "
                "cannot be brought to the size of an image. Use feature_weight=0."
            )
        if not 1 <= self.n_features <= len(self.target):
            raise ValueError(
                f"FeatureDistance: this discriminator has {len(self.target)} features; expected "
                f"n_features from 1 to that, got {self.n_features}."
            )

    def __call__(self, x: Tensor) -> Float[Tensor, " n"]:
        with torch.no_grad():
            return self._distance(self._image(self.op.A(x)))

    def value_and_grad(self, x: Tensor) -> tuple[Float[Tensor, " n"], Tensor]:
        """d and its gradient; S A is symmetric, so it brings the gradient back as well."""
        seen = self._image(self.op.A(x)).requires_grad_()
        with torch.enable_grad():
            value = self._distance(seen)
            (pulled,) = torch.autograd.grad(value.sum(), seen)
        zero = torch.zeros_like(pulled)
        return value.detach(), self.op.prox_l2(zero, self.op.A(pulled), self._gamma)

    def table(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "n m"]:
        """The distance of each measurement to each of m images."""
        features = self._features(self._image(self.op.A(x)))
        return sum(
            torch.cdist(a.flatten(1), b.flatten(1), p=1) / a[0].numel()
            for a, b in zip(self.target, features, strict=True)
        )

    @cached_property
    def target(self) -> list[Tensor]:
        """The features of S y."""
        with torch.no_grad():
            return self._features(self._image(self.y))

    @property
    def _gamma(self) -> float:
        return (PIXEL_STD / max(self.sigma, SMALLEST_NOISE)) ** 2

    def _image(self, y: Tensor) -> Tensor:
        grey = y.new_full((len(y), *self.op.img_size), 0.5)
        return self.op.prox_l2(grey, y, self._gamma)

    def _features(self, image: Tensor) -> list[Tensor]:
        return self.discriminator.features(image)[-self.n_features :]

    def _distance(self, image: Tensor) -> Tensor:
        features = self._features(image)
        return sum(
            (a - b).abs().flatten(1).mean(1) for a, b in zip(self.target, features, strict=True)
        )


def deep_generative_prior(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    phases: Sequence[Phase] = PHASES,
    feature_weight: float = 0.1,
    n_features: int = 3,
    latent_weight: float = 0.02,
    draws: int = 500,
    std: float = 1.0,
    tau: float = 1.0,
    z_init: Tensor | None = None,
    blocks: Sequence[nn.Module] | None = None,
    keep_weights: bool = False,
    generator: Generator | None = None,
) -> DeepGenerativePriorSolution:
    """Fit latent and weights of a generator to each measurement; the model itself stays as it was.

    Every image has its own copy of the weights, and all images go through the generator at once.
    Batch normalisation keeps the statistics of its training. Given sigma, an image stops at the
    discrepancy principle, mean((A x - y)^2) <= tau sigma^2: a network that may change its weights
    goes on to fit the noise. Without sigma only the number of steps prevents that.

        x = deep_generative_prior(gan, Inpainting(mask), y, generator=g).x
        x = deep_generative_prior(gan, Downsampling((1, 64, 64), 4, kernel), y, generator=g).x
        x = deep_generative_prior(colour_gan, Luminance((3, 64, 64)), y, generator=g).x

    Args:
        model: a `GAN`, or any generator that is a torch module, or a `Pushforward` of one; in
            evaluation mode.
        op: any operator; a linear one where features are compared.
        y: measurements (B, *op.measurement_size).
        sigma: standard deviation of the noise; that of op.noise_model by default, else 0.
        phases: what learns, when and how fast.
        feature_weight: v. A model without discriminator needs 0.
        n_features: how many features of the discriminator are compared, from the last.
        latent_weight: u.
        draws: number of latents to choose the start from, the same for all images: the one with
            the least loss, weighed as in the first phase.
        std: standard deviation of those latents.
        tau: of the discrepancy principle; 0 never stops.
        z_init: latents (B, ...) to start from instead.
        blocks: the parts of the generator from coarse to fine; stages and head of a `GAN` by
            default, else the direct children of the decoder or network that have weights.
        keep_weights: whether to return the weights, which are many.
        generator: for the draws.

    Returns:
        DeepGenerativePriorSolution with x = G_theta(z) after the last step. History, one row per
        step and one for the end: "loss"; "data", the mean square misfit over all numbers of y
        that A can reach; "phase". An image that has met the discrepancy principle keeps its
        latent and weights; "converged" if all have.

    Raises:
        ValueError: a model in training mode, without weights, or without the discriminator that
            it needs; shapes or blocks that do not fit; an option out of its range.
        TypeError: no torch.Generator for the draws; features of an operator that is not linear.
    """
    check_measurement("deep_generative_prior", op, y)
    if sigma is None:
        sigma = getattr(op.noise_model, "sigma", 0.0)
    numbers = {
        "sigma": sigma,
        "feature_weight": feature_weight,
        "latent_weight": latent_weight,
        "std": std,
        "tau": tau,
    }
    _check_options(numbers, phases, draws)
    features = None
    if feature_weight:
        features = FeatureDistance(_discriminator(model), op, y, sigma, n_features)
    loss = _Loss(op, y, features, feature_weight, latent_weight)
    own = _OwnWeights(model, blocks)
    z = _start(model, loss, phases[0], z_init, draws, std, generator)

    enough = tau * sigma**2
    met = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    reached = torch.zeros(len(y), device=y.device)
    weights: Weights = {}
    x_latent_only = None
    optimiser = Adam([z])
    record = History("loss", "data", "phase")
    for number, phase in enumerate(phases):
        if met.all():
            break
        if phase.blocks and x_latent_only is None:
            x_latent_only = own.draw(z, weights).detach()
        free = [z, *own.release(weights, phase.blocks, len(y))]
        _set_rates(optimiser, free, phase)
        for _ in range(phase.steps):
            x = own.draw(z, weights)
            at = loss.at(x.detach(), z.detach(), phase.data_weight)
            met = met | (at.data <= enough)
            reached = torch.where(met, reached, number)
            record.add(loss=at.value, data=at.data, phase=reached)
            if met.all():
                break
            slopes = torch.autograd.grad(x, free, at.image_grad)
            z.grad = slopes[0] + at.latent_grad
            for weight, slope in zip(free[1:], slopes[1:], strict=True):
                weight.grad = slope
            still = [variable.detach()[met] for variable in free]
            optimiser.step()
            for variable, value in zip(free, still, strict=True):
                variable.data[met] = value

    x, z = own.draw(z, weights).detach(), z.detach()
    if not met.all():
        at = loss.at(x, z, phases[-1].data_weight)
        met = met | (at.data <= enough)
        record.add(loss=at.value, data=at.data, phase=reached)
    history = record.stack()
    return DeepGenerativePriorSolution(
        x,
        status_of(met, ~at.value.isfinite()),
        history,
        len(history["loss"]) - 1,
        z=z,
        x_latent_only=x if x_latent_only is None else x_latent_only,
        weights={name: w.detach() for name, w in weights.items()} if keep_weights else None,
    )


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


class _At(NamedTuple):
    """The loss at some images and latents, (n,), and its parts."""

    value: Tensor
    data: Tensor
    image_grad: Tensor
    latent_grad: Tensor


@dataclass(frozen=True, eq=False)
class _Loss:
    """w mean((A x - y)^2) + v d(x) + u / 2 mean(z^2); the phase says w."""

    op: Operator
    y: Tensor
    features: FeatureDistance | None
    feature_weight: float
    latent_weight: float

    @torch.no_grad()
    def at(self, x: Tensor, z: Tensor, data_weight: float) -> _At:
        residual = self.op.A(x) - self.y
        data = inner(residual, residual) / self._count
        value = data_weight * data + self._latent(z)
        grad = 2 * data_weight / self._count * self.op.A_vjp(x, residual)
        if self.features is not None:
            distance, slope = self.features.value_and_grad(x)
            value = value + self.feature_weight * distance
            grad = grad + self.feature_weight * slope
        return _At(value, data, grad, self.latent_weight / z[0].numel() * z)

    def table(self, x: Tensor, z: Tensor, data_weight: float) -> Float[Tensor, "n m"]:
        """The loss of each of m images and latents, for each of the n measurements."""
        misfit = torch.cdist(self.y.flatten(1), self.op.A(x).flatten(1)).square() / self._count
        value = data_weight * misfit + self._latent(z)
        if self.features is not None:
            value = value + self.feature_weight * self.features.table(x)
        return value

    def _latent(self, z: Tensor) -> Tensor:
        return self.latent_weight / 2 * z.flatten(1).square().mean(1)

    @cached_property
    def _count(self) -> Tensor:
        """How many numbers of y can differ from zero: the lost pixels of a mask measure nothing."""
        probe = torch.rand(1, *self.op.img_size, generator=generator_from(0)).to(self.y)
        return self.op.A(probe).count_nonzero()


class _OwnWeights:
    """G with weights for each image, in one call for all images.

    `functional_call` gives a module other weights for the time of a call, `vmap` makes one call
    of many; the weights of the model itself are read and never written.
    """

    def __init__(self, model: LatentGenerator, blocks: Sequence[nn.Module] | None) -> None:
        self.network = _Mean(model)
        self.trained = {name: p.detach() for name, p in self.network.named_parameters()}
        self.blocks = _blocks(model) if blocks is None else list(blocks)
        own = {id(p) for p in self.network.parameters()}
        if not {id(p) for block in self.blocks for p in block.parameters()} <= own:
            raise ValueError(
                f"deep_generative_prior: blocks must be parts of this {type(model).__name__}, as "
                "in [*gan.generator.stages, gan.generator.head]; these have other weights."
            )

    def draw(self, z: Tensor, weights: Weights) -> Tensor:
        """G_theta(z), each image with its own part of theta."""

        def draw_one(z: Tensor, weights: Weights) -> Tensor:
            return functional_call(self.network, self.trained | weights, (z[None],))[0]

        with torch.enable_grad():
            return vmap(draw_one)(z, weights)

    def release(self, weights: Weights, blocks: int, n: int) -> list[Tensor]:
        """The free weights of the first blocks; those not yet in `weights` are copied n times."""
        free = {id(p) for block in self.blocks[:blocks] for p in block.parameters()}
        names = [name for name, p in self.network.named_parameters() if id(p) in free]
        for name in names:
            if name not in weights:
                trained = self.trained[name]
                weights[name] = trained.expand(n, *trained.shape).clone().requires_grad_()
        return [weights[name] for name in names]


class _Mean(nn.Module):
    """decode(z).mean as a module, to which weights can be given."""

    def __init__(self, model: LatentGenerator) -> None:
        super().__init__()
        self.network, self.decode = _network(model), model.decode

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(z).mean


def _network(model: LatentGenerator) -> nn.Module:
    network = model.network if isinstance(model, Pushforward) else model
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"deep_generative_prior: expected a torch module, whose weights can be fitted, got "
            f"{type(network).__name__}. map_z takes any map."
        )
    return network


def _blocks(model: LatentGenerator) -> list[nn.Module]:
    """The parts of a generator, from coarse to fine."""
    if isinstance(model, GAN):
        return [*model.generator.stages, model.generator.head]
    network = _network(model)
    network = getattr(network, "decoder", network)
    parts = [part for part in network.children() if any(True for _ in part.parameters())]
    return parts or [network]


def _discriminator(model: LatentGenerator) -> Discriminator:
    if not hasattr(model, "discriminator"):
        raise ValueError(
            f"deep_generative_prior: {type(model).__name__} has no discriminator whose features "
            "could be compared. Use feature_weight=0."
        )
    return model.discriminator


@torch.no_grad()
def _start(
    model: LatentGenerator,
    loss: _Loss,
    phase: Phase,
    z_init: Tensor | None,
    draws: int,
    std: float,
    generator: Generator | None,
) -> Tensor:
    """The given latents, or the best of the draws, for the loss of the first phase."""
    image = LatentEnergy(model, loss.op, loss.y, 1.0).image  # refuses what does not fit
    if z_init is None:
        check_generator("deep_generative_prior", generator)
        pool = std * model.prior(draws, generator=generator).to(loss.y)
        z = pool[loss.table(image(pool), pool, phase.data_weight).argmin(1)]
    else:
        z = z_init.detach().clone()
        if len(z) != len(loss.y):
            raise ValueError(
                f"deep_generative_prior: expected a z_init for each of {len(loss.y)} measurements, "
                f"got {len(z)}."
            )
        image(z)
    return z.requires_grad_()


def _check_options(numbers: dict[str, float], phases: Sequence[Phase], draws: int) -> None:
    for named in (numbers, *(phase._asdict() for phase in phases)):
        for name, value in named.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"deep_generative_prior: {name} must be a finite number >= 0, got {value}."
                )
    if not phases or draws < 1:
        raise ValueError(
            f"deep_generative_prior: expected at least one phase and one draw, got {len(phases)} "
            f"and {draws}."
        )
