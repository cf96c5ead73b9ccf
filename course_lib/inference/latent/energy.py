"""Negative log posteriors of latents, and of latents together with images.

With p(z) = N(0, I), an image x = G(z) and y = A x + noise of standard deviation sigma,

    -log p(z | y) = |A G(z) - y|^2 / (2 sigma^2) + |z|^2 / 2 + constant,

which is not convex in z. If the image may leave the range of G by Gaussian noise of standard
deviation s, the pair has the joint objective

    J(x, z) = |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 s^2) + |z|^2 / 2.
"""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import inner
from course_lib.inference.latent.generator import LatentGenerator, check_evaluation
from course_lib.operators import Denoising, Operator, measure
from course_lib.protocols import Linear
from course_lib.validation import check_linear, check_measurement, check_not_negative


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
        weight: weight of |z|^2 / 2; see `bora_weight` for another convention.

    Raises:
        ValueError: a model in training mode, y of another shape or not finite, sigma <= 0,
            weight < 0.
    """

    model: LatentGenerator
    op: Operator
    y: Tensor
    sigma: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_measurement(name, self.op, self.y)
        check_evaluation(self.model)
        check_std(name, "sigma", self.sigma)
        check_not_negative(name, weight=self.weight)

    def __call__(self, z: Tensor) -> Float[Tensor, " n"]:
        """f at each latent."""
        with torch.no_grad():
            return self._value(z, slice(None))

    def grad(self, z: Tensor) -> Tensor:
        """The gradient of f."""
        return self.value_and_grad(z)[1]

    def value_and_grad(
        self, z: Tensor, rows: Tensor | slice = slice(None)
    ) -> tuple[Float[Tensor, " n"], Tensor]:
        """f and its gradient for the latents of y[rows]; no gradient reaches the parameters."""
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            value = self._value(z, rows)
            (grad,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), grad

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

    def _value(self, z: Tensor, rows: Tensor | slice) -> Float[Tensor, " n"]:
        residual = measure(self.op, self.image(z)) - self.y[rows]
        return inner(residual, residual) / (2 * self.sigma**2) + self.weight / 2 * inner(z, z)


@dataclass(frozen=True, eq=False)
class MarginalPosterior(LatentEnergy):
    """-log p(z | y) up to a constant, where x given z ~ N(G(z), std^2 I) is integrated out.

    With r = A G(z) - y the data term 1/2 r^T (sigma^2 I + std^2 A A^T)^-1 r is the least value
    over x of |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 std^2), a proximal map that the
    operators know in closed form; and at the least value, the gradient with respect to G(z) is
    that for a fixed x (the envelope theorem): no derivative of the proximal map is needed.

    Args:
        model, op, y, sigma, weight: as for LatentEnergy, which is the limit std = 0; op is linear.
        std: s, the standard deviation of x given z.

    Raises:
        ValueError: as LatentEnergy, and std <= 0.
        TypeError: an operator that is not linear.
    """

    std: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.linear  # refuses what is not
        if not 0 < self.std < math.inf:
            raise ValueError(
                f"MarginalPosterior: std must be positive and finite, got {self.std}. With 0, "
                "x = G(z): that is LatentEnergy."
            )

    @property
    def linear(self) -> Linear:
        """The operator, with its proximal map."""
        return check_linear(type(self).__name__, self.op, "With x = G(z), use LatentEnergy.")

    def _value(self, z: Tensor, rows: Tensor | slice) -> Float[Tensor, " n"]:
        mean, y = self.image(z), self.y[rows]
        x = self.linear.prox_l2(mean.detach(), y, (self.std / self.sigma) ** 2)
        residual, away = self.op.A(x) - y, x - mean
        return (
            inner(residual, residual) / (2 * self.sigma**2)
            + inner(away, away) / (2 * self.std**2)
            + self.weight / 2 * inner(z, z)
        )


@dataclass(frozen=True, eq=False)
class JointEnergy:
    """J(x, z) = |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 std^2) + |z|^2 / 2, one value a pair.

    It is -log p(x, z | y) up to a constant, if x given z is N(G(z), std^2 I).

    Args:
        model, op, y, sigma: as for `LatentEnergy`.
        std: s, the standard deviation of x given z.
    """

    model: LatentGenerator
    op: Operator
    y: Tensor
    sigma: float
    std: float

    def __call__(self, x: Tensor, z: Tensor) -> Float[Tensor, " n"]:
        """J at each pair."""
        residual = self.op.A(x) - self.y
        return inner(residual, residual) / (2 * self.sigma**2) + self.given_image(x)(z)

    def given_image(self, x: Tensor) -> LatentEnergy:
        """z -> J(x, z) less its data term: what one would minimise if x were the measurement."""
        return LatentEnergy(self.model, Denoising(self.op.img_size), x, self.std)


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


def noise_sigma(name: str, op: Operator, sigma: float | None) -> float:
    """sigma as given, or that of the operator's noise model."""
    if sigma is None:
        sigma = getattr(op.noise_model, "sigma", None)
    if sigma is None:
        raise ValueError(
            f"{name}: {type(op).__name__} has no Gaussian noise model to take sigma from; give "
            "sigma, the standard deviation of the noise in units of y."
        )
    check_std(name, "sigma", sigma)
    return float(sigma)


def model_std(name: str, model: LatentGenerator, std: float | None) -> float:
    """std as given, or the model's own."""
    if std is None:
        std = getattr(model, "noise_std", None)
    if std is None:
        raise ValueError(
            f"{name}: {type(model).__name__} has no noise_std; give std, the deviation of images "
            "from the range of the generator."
        )
    check_std(name, "std", float(std))
    return float(std)


def check_std(name: str, what: str, value: float) -> None:
    """Refuse a standard deviation that is not positive and finite."""
    if not 0 < value < math.inf:
        raise ValueError(
            f"{name}: {what} must be a positive, finite standard deviation, got {value}. For data "
            "without noise give the size of the residual that you accept, or in map_z a "
            "latent_weight of 0, with which any sigma will do."
        )
