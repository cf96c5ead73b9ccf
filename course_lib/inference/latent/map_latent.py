"""Inversion of a generator: the latent, or image and latent together, that explain a measurement.

With p(z) = N(0, I), an image x = G(z) and y = A x + noise of standard deviation sigma,

    -log p(z | y) = |A G(z) - y|^2 / (2 sigma^2) + |z|^2 / 2 + constant,

which is not convex in z: hence several starts, and the best of them. If the image may leave the
range of G by Gaussian noise of standard deviation s, the pair has the joint objective

    J(x, z) = |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 s^2) + |z|^2 / 2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from course_lib.batch import inner, per_image
from course_lib.models.gan import PointMass
from course_lib.operators import Denoising, LinearOperator, Operator
from course_lib.rng import check_generator, generator_from, normal_like
from course_lib.solvers import LBFGS, Adam, minimise
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_measurement

PIXEL_STD = 0.25  # of images in [0, 1], roughly: the prior of the first guess of an image


@runtime_checkable
class LatentGenerator(Protocol):
    """A law of images: z ~ N(0, I), then an image around decode(z).mean.

    A VAE is one, a GAN is one, and `Pushforward` makes one of any map. Where they are there,
    `encode(x).mean` is a first guess of the latent, and `noise_std` the deviation s of x from
    decode(z).mean.
    """

    def decode(self, z: Tensor) -> Any: ...
    def prior(self, n: int, *, generator: Generator) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Pushforward:
    """The law of G(z) for z ~ N(0, I): makes a LatentGenerator of any map.

    Args:
        network: G, from latents (n, *latent_shape) to images (n, C, H, W).
        latent_shape: of one latent.
    """

    network: Callable[[Tensor], Tensor]
    latent_shape: tuple[int, ...]

    def decode(self, z: Tensor) -> PointMass:
        return PointMass(self.network(z))

    def prior(self, n: int, *, generator: Generator) -> Tensor:
        return normal_like(torch.empty(n, *self.latent_shape), generator)


@dataclass(frozen=True, eq=False)
class LatentEnergy:
    """f(z) = |A G(z) - y|^2 / (2 sigma^2) + weight / 2 |z|^2, one value per latent.

    With weight 1 it is -log p(z | y) up to a constant. It is smooth where G is, so solvers that
    take a functional of images take it as well.

    Args:
        model: G(z) is model.decode(z).mean; in evaluation mode.
        op: any operator, linear or not.
        y: measurements (n, *op.measurement_size), one for each latent.
        sigma: standard deviation of the noise, in units of y.

    Raises:
        ValueError: a model in training mode, y of another shape or not finite, sigma <= 0.
    """

    model: LatentGenerator
    op: Operator
    y: Tensor
    sigma: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_measurement("LatentEnergy", self.op, self.y)
        check_evaluation(self.model)
        _check_positive("LatentEnergy", "sigma", self.sigma)

    def __call__(self, z: Tensor) -> Float[Tensor, " n"]:
        with torch.no_grad():
            return self._value(z, self.op.A(self.image(z)) - self.y)

    def grad(self, z: Tensor) -> Tensor:
        return self.value_and_grad(z)[1]

    def value_and_grad(
        self, z: Tensor, rows: Tensor | slice = slice(None)
    ) -> tuple[Float[Tensor, " n"], Tensor]:
        """f and its gradient for the latents of y[rows]; no gradient reaches the parameters."""
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            image = self.image(z)
        x = image.detach()
        residual = self.op.A(x) - self.y[rows]
        (pulled,) = torch.autograd.grad(image, z, self.op.A_vjp(x, residual) / self.sigma**2)
        z = z.detach()
        return self._value(z, residual), pulled + self.weight * z

    def image(self, z: Tensor) -> Tensor:
        """G(z)."""
        x = self.model.decode(z).mean
        if tuple(x.shape[1:]) != tuple(self.op.img_size):
            raise ValueError(
                f"The model draws images of {tuple(x.shape[1:])} from latents of "
                f"{tuple(z.shape[1:])}, but {type(self.op).__name__} measures images of "
                f"{tuple(self.op.img_size)}. Give both the same size."
            )
        return x

    def _value(self, z: Tensor, residual: Tensor) -> Tensor:
        return inner(residual, residual) / (2 * self.sigma**2) + self.weight / 2 * inner(z, z)


@dataclass(frozen=True, kw_only=True)
class LatentSolution(Solution):
    """A Solution whose image comes with a latent.

    Attributes:
        z: the best latent of each image, (B, ...).
        objective: its objective, (B,).
        all_z: where each of the R starts led, (B, R, ...).
        all_objective: (B, R).
    """

    z: Tensor
    objective: Float[Tensor, " batch"]
    all_z: Tensor
    all_objective: Float[Tensor, "batch restarts"]


def bora_weight(lam: float, m: int, sigma: float) -> float:
    """The latent_weight with which `map_z` minimises mean((A G(z) - y)^2) + lam |z|^2.

    That loss is 2 sigma^2 / m times |A G(z) - y|^2 / (2 sigma^2) + w / 2 |z|^2 with
    w = lam m / sigma^2. Bayes' rule has w = 1, that is lam = sigma^2 / m. The published settings,
    lam = 0.1 with sigma = 0.1 and lam = 0.001 with sigma = 0.01, are w = 10 m: for the 100 to 1000
    measurements in use, a prior 10^3 to 10^4 times stronger than Bayes' rule.

    Args:
        lam: weight of |z|^2, in the units of y squared. The published ones belong to rows with
            N(0, 1) entries; for N(0, 1 / m) entries divide lam by m and sigma by sqrt(m).
        m: number of measurements of one image.
        sigma: standard deviation of the noise, in units of y.

    Source: Bora, Jalal, Price & Dimakis 2017, arXiv:1703.03208, and its code.
    """
    return lam * m / sigma**2


def map_z(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    latent_weight: float | str = "bayes",
    restarts: int = 4,
    steps: int = 500,
    step_size: float = 0.05,
    method: str = "lbfgs",
    init: str | Tensor = "encoder",
    x_init: Tensor | None = None,
    rtol: float = 1e-6,
    generator: Generator | None = None,
) -> LatentSolution:
    """Minimise |A G(z) - y|^2 / (2 sigma^2) + w / 2 |z|^2 over z, from several starts at once.

    All images and starts go through the generator as one batch, each on its own way. The drawn
    starts are the same for every image, so that its answer does not depend on its neighbours.

    Args:
        model: G(z) is model.decode(z).mean: a VAE, or a `Pushforward`; in evaluation mode.
        op: any operator, linear or not.
        y: measurements (B, *op.measurement_size).
        sigma: standard deviation of the noise; that of op.noise_model by default.
        latent_weight: w; "bayes" is 1, see `bora_weight` for another convention. With 0 it is a
            projection on the range of G, whatever sigma.
        restarts: R, the number of starts.
        steps: at most.
        step_size: learning rate of "adam"; for "lbfgs" only the length of the first step. Either
            way about the change of a number of the latent in one step.
        method: "lbfgs", which needs a tenth of the steps and finds more digits, or "adam", the
            published choice.
        init: the first start: "encoder", model.encode(x_init).mean; "prior", a draw; or a tensor
            (B, ...). All other starts are drawn.
        x_init: images (B, C, H, W) for the encoder; `first_guess` by default.
        rtol: a start is frozen once its objective varies by less than rtol times its value over
            ten steps.
        generator: for the drawn starts.

    Returns:
        LatentSolution with x = G(z) at the least objective seen, and history "objective":
        (rows, B, R), one row per step and one for the start. "converged" is said of the best
        starts; "diverged" if an image has no finite objective at all.

    Raises:
        ValueError: no sigma, a model in training mode or without encoder, shapes that do not fit,
            an option out of its range.
        TypeError: starts to draw and no torch.Generator.

    Source: Bora et al. 2017, arXiv:1703.03208 (restarts, w); for "lbfgs", Nocedal & Wright 2006,
    section 7.2.
    """
    if method not in ("adam", "lbfgs"):
        raise ValueError(f"method must be 'adam' or 'lbfgs', got {method!r}.")
    if restarts < 1 or steps < 1:
        raise ValueError(
            f"map_z: expected restarts >= 1 and steps >= 1, got {restarts} and {steps}."
        )
    check_measurement("map_z", op, y)
    sigma = _noise_level("map_z", op, sigma)
    f = LatentEnergy(
        model, op, y.repeat_interleave(restarts, 0), sigma, _latent_weight(latent_weight)
    )
    starts = _starts(model, op, y, sigma, restarts, init, x_init, generator)
    optimiser = {"lbfgs": LBFGS, "adam": Adam}[method](steps, step_size, rtol)
    end = minimise(f, starts.flatten(0, 1), optimiser)

    all_z = end.z.unflatten(0, (len(y), restarts))
    all_objective = end.value.view(len(y), restarts)
    best = all_objective.nan_to_num(nan=math.inf).argmin(1)
    images = torch.arange(len(y), device=best.device)
    z, objective = all_z[images, best], all_objective[images, best]
    with torch.no_grad():
        x = f.image(z)
    return LatentSolution(
        x,
        status_of(end.converged.view_as(all_objective)[images, best], ~objective.isfinite()),
        {"objective": end.history.unflatten(1, (len(y), restarts))},
        len(end.history) - 1,
        z=z,
        objective=objective,
        all_z=all_z,
        all_objective=all_objective,
    )


@torch.no_grad()
def map_xz(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    std: float | None = None,
    x_init: Tensor | None = None,
    sweeps: int = 100,
    inner_steps: int = 20,
    step_size: float = 0.05,
    method: str = "lbfgs",
    continuation: int = 0,
    tol: float = 1e-3,
) -> LatentSolution:
    """Minimise J(x, z) over the image and the latent in turn; J never rises.

    For x the minimum is exact, `conditional_mean`. For z the encoder proposes the mean of
    q(z | x), one pass instead of an optimisation; where that does not lower J, optimise.

    Args:
        model: with `encode`, and `noise_std` unless std is given; in evaluation mode.
        op, y, sigma: as in `map_z`, for a linear operator.
        std: s, the deviation of images from the range of G; model.noise_std by default. J tends
            to the objective of `map_z` as s goes to 0, but then the sweeps become slow.
        x_init: images (B, C, H, W) to encode first; `first_guess` by default.
        sweeps: at most.
        inner_steps, step_size, method: of the optimisation over z, as in `map_z`.
        continuation: number of sweeps over which 1 / s^2 grows from a tenth to its final value:
            an image that may stray from G is less attracted by the first latent.
        tol: an image is frozen once the root mean square changes of x and of z, added, are below
            tol in one sweep.

    Returns:
        LatentSolution with R = 1, x (not G(z)), and J as objective. History: "objective", J at
        the s of each sweep, the start first; "change"; "encoder", 1 where its proposal was taken.

    Raises:
        ValueError: as in `map_z`, and a model without encoder or std.

    Source: González, Almansa & Tan 2022, arXiv:2103.01648.
    """
    if not 0 <= continuation < sweeps:
        raise ValueError(
            f"map_xz: expected 0 <= continuation < sweeps, got {continuation} and {sweeps}: s must "
            "reach its final value."
        )
    check_measurement("map_xz", op, y)
    sigma, std = _noise_level("map_xz", op, sigma), _deviation("map_xz", model, std)
    x = first_guess(model, op, y, sigma=sigma) if x_init is None else x_init
    z = _encode("map_xz", model, op, y, x)
    schedule = [  # of s, falling to std
        std * math.sqrt(10) ** (1 - k / continuation if k < continuation else 0)
        for k in range(sweeps)
    ]
    x = conditional_mean(model, op, y, z, sigma=sigma, std=schedule[0])
    objective = JointEnergy(model, op, y, sigma, schedule[0])(x, z)
    record = History("objective", "change", "encoder")
    record.add(objective=objective)
    change = torch.full_like(objective, math.inf)
    taken = torch.zeros_like(objective)
    rows = torch.arange(len(y), device=y.device)
    for sweep, s in enumerate(schedule):
        x_old, z_old, J = x[rows], z[rows], JointEnergy(model, op, y[rows], sigma, s)
        proposal = model.encode(x_old).mean
        z_new, by_encoder = _lower(
            J.given_image(x_old), z_old, proposal, method, inner_steps, step_size
        )
        x_new = conditional_mean(model, op, y[rows], z_new, sigma=sigma, std=s)
        # An x found by iterations may be worse by their tolerance: then the old one stays.
        value, unmoved = J(x_new, z_new), J(x_old, z_new)
        x_new = torch.where(per_image(value <= unmoved, x), x_new, x_old)

        x, z = x.index_copy(0, rows, x_new), z.index_copy(0, rows, z_new)
        objective = objective.index_copy(0, rows, torch.minimum(value, unmoved))
        change = change.index_copy(0, rows, _rms(x_new - x_old) + _rms(z_new - z_old))
        taken = taken.index_copy(0, rows, by_encoder.to(taken.dtype))
        record.add(objective=objective, change=change, encoder=taken)
        moving = (change > tol) | (sweep < continuation)
        rows = (moving & objective.isfinite()).nonzero().squeeze(1)
        if not len(rows):
            break
    history = record.stack()
    return LatentSolution(
        x,
        status_of(change <= tol, ~objective.isfinite()),
        history,
        len(history["change"]),
        z=z,
        objective=objective,
        all_z=z[:, None],
        all_objective=objective[:, None],
    )


@dataclass(frozen=True, eq=False)
class JointEnergy:
    """J(x, z) = |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 std^2) + |z|^2 / 2, one value a pair.

    It is -log p(x, z | y) up to a constant, if x given z is N(G(z), std^2 I).
    """

    model: LatentGenerator
    op: Operator
    y: Tensor
    sigma: float
    std: float

    def __call__(self, x: Tensor, z: Tensor) -> Float[Tensor, " n"]:
        residual = self.op.A(x) - self.y
        return inner(residual, residual) / (2 * self.sigma**2) + self.given_image(x)(z)

    def given_image(self, x: Tensor) -> LatentEnergy:
        """z -> J(x, z) less its data term: what one would minimise if x were the measurement."""
        return LatentEnergy(self.model, Denoising(self.op.img_size), x, self.std)


@torch.no_grad()
def conditional_mean(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    z: Tensor,
    *,
    sigma: float | None = None,
    std: float | None = None,
) -> Float[Tensor, "b c h w"]:
    """E[x | z, y] = argmin_x |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 std^2), exactly.

    Seen pixels go towards y, unseen ones stay with the generator.

    Args:
        y: (B, *op.measurement_size).
        z: latents (B, ...).
        sigma: standard deviation of the noise; that of op.noise_model by default.
        std: of x given z, which is N(G(z), std^2 I); model.noise_std by default.

    Raises:
        ValueError: no sigma or std, or shapes that do not fit.
        TypeError: an operator that is not linear: then x given z and y is not Gaussian.
    """
    _check_linear("conditional_mean", op)
    sigma = _noise_level("conditional_mean", op, sigma)
    std = _deviation("conditional_mean", model, std)
    if len(z) != len(y):
        raise ValueError(
            f"conditional_mean: expected a latent for each measurement, got {len(z)} for {len(y)}."
        )
    x = LatentEnergy(model, op, y, sigma).image(z)
    return op.prox_l2(x, y, (std / sigma) ** 2)


@torch.no_grad()
def first_guess(
    model: LatentGenerator, op: Operator, y: Tensor, *, sigma: float | None = None
) -> Float[Tensor, "b c h w"]:
    """An image to encode: E[x | y] if images were N(G(0), I / 16).

    A regularised inverse: A^+ y would divide noise by the small singular values of a blur, and
    leave the lost pixels of a mask black; what an encoder makes of such images is anything.

    Raises:
        ValueError: no sigma, or shapes that do not fit.
        TypeError: an operator that is not linear.
    """
    z = torch.zeros_like(_draw(model, op, 1, generator_from(0))).to(y)
    return conditional_mean(
        model, op, y, z.expand(len(y), *z.shape[1:]), sigma=sigma, std=PIXEL_STD
    )


def _starts(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    sigma: float,
    restarts: int,
    init: str | Tensor,
    x_init: Tensor | None,
    generator: Generator | None,
) -> Float[Tensor, "b r ..."]:
    """The chosen start of each image, then draws that all images share."""
    if isinstance(init, Tensor):
        first = init
    elif init == "encoder":
        x = first_guess(model, op, y, sigma=sigma) if x_init is None else x_init
        first = _encode("map_z", model, op, y, x)
    elif init == "prior":
        first = None
    else:
        raise ValueError(f"map_z: init must be 'encoder', 'prior' or a tensor, got {init!r}.")
    drawn = restarts if first is None else restarts - 1
    if drawn:
        check_generator("map_z", generator)
    pool = _draw(model, op, drawn, generator or generator_from(0)).to(y)
    pool = pool.expand(len(y), *pool.shape)
    if first is None:
        return pool
    if first.shape != (len(y), *pool.shape[2:]):
        raise ValueError(
            f"map_z: expected first latents of shape {(len(y), *pool.shape[2:])}, one for each "
            f"measurement, got {tuple(first.shape)}."
        )
    return torch.cat([first.detach()[:, None].to(y), pool], dim=1)


def _draw(model: LatentGenerator, op: Operator, n: int, generator: Generator) -> Tensor:
    """n latents from the prior, for images of the size that op measures."""
    if tuple(getattr(model, "img_size", op.img_size)) == tuple(op.img_size):
        return model.prior(n, generator=generator)
    return model.prior(n, generator=generator, img_size=tuple(op.img_size[-2:]))


@torch.no_grad()
def _encode(name: str, model: LatentGenerator, op: Operator, y: Tensor, x: Tensor) -> Tensor:
    if not hasattr(model, "encode"):
        raise ValueError(
            f"{name}: {type(model).__name__} has no encoder, so nothing guesses a latent. "
            "map_z can do without: init='prior'."
        )
    if x.shape != (len(y), *op.img_size):
        raise ValueError(
            f"{name}: expected x_init of shape {(len(y), *op.img_size)}, got {tuple(x.shape)}."
        )
    check_evaluation(model)
    return model.encode(x).mean


def _lower(
    f: LatentEnergy, z: Tensor, proposal: Tensor, method: str, steps: int, step_size: float
) -> tuple[Tensor, Tensor]:
    """Latents with lower f: the proposal where that is one, else the end of some steps from z."""
    taken = f(proposal) < f(z)
    z = torch.where(per_image(taken, z), proposal, z)
    if not taken.all():
        rest = replace(f, y=f.y[~taken])
        rtol = torch.finfo(z.dtype).eps
        z[~taken] = minimise(
            rest, z[~taken], {"lbfgs": LBFGS, "adam": Adam}[method](steps, step_size, rtol)
        ).z
    return z, taken


def _rms(x: Tensor) -> Float[Tensor, " n"]:
    """Root mean square of each image or latent."""
    return x.flatten(1).square().mean(1).sqrt()


def check_evaluation(model: LatentGenerator) -> None:
    """Refuse layers in training mode: batch normalisation would mix the images of the batch."""
    network = model.network if isinstance(model, Pushforward) else model
    if isinstance(network, nn.Module) and any(part.training for part in network.modules()):
        raise ValueError(
            f"{type(network).__name__} is in training mode, in which dropout and batch "
            "normalisation make an image depend on chance and on its neighbours. Call .eval()."
        )


def _check_positive(name: str, what: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(
            f"{name}: {what} must be a positive, finite standard deviation, got {value}. For data "
            "without noise give the size of the misfit that you accept, or in map_z a "
            "latent_weight of 0, with which any sigma will do."
        )


def _check_linear(name: str, op: Operator) -> None:
    if not isinstance(op, LinearOperator):
        raise TypeError(
            f"{name}: {type(op).__name__} is not linear, so there is no closed form for the image. "
            "Use map_z with init='prior', or give x_init."
        )


def _noise_level(name: str, op: Operator, sigma: float | None) -> float:
    """sigma as given, or that of the operator's noise model."""
    if sigma is None:
        sigma = getattr(op.noise_model, "sigma", None)
    if sigma is None:
        raise ValueError(
            f"{name}: {type(op).__name__} has no Gaussian noise model to take sigma from; give "
            "sigma, the standard deviation of the noise in units of y."
        )
    _check_positive(name, "sigma", sigma)
    return float(sigma)


def _deviation(name: str, model: LatentGenerator, std: float | None) -> float:
    """std as given, or the model's own."""
    if std is None:
        std = getattr(model, "noise_std", None)
    if std is None:
        raise ValueError(
            f"{name}: {type(model).__name__} has no noise_std; give std, the deviation of images "
            "from the range of the generator."
        )
    _check_positive(name, "std", float(std))
    return float(std)


def _latent_weight(weight: float | str) -> float:
    """1 for "bayes", or the number itself."""
    if weight == "bayes":
        return 1.0
    if isinstance(weight, str) or not 0 <= weight < math.inf:
        raise ValueError(
            f"map_z: latent_weight must be 'bayes' or a finite number >= 0, got {weight!r}."
        )
    return float(weight)
