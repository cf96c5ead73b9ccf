"""Distance of images by the features of a discriminator, as far as a measurement can tell."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.latent.start import PIXEL_STD
from course_lib.models.gan import Discriminator
from course_lib.operators import Operator, measure
from course_lib.protocols import ImageSize, Linear
from course_lib.validation import check_linear

SMALLEST_NOISE = 0.01  # in the images whose features are compared: no more faith in y than this


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
        n_features: number of features that are compared, from the last.

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
        if not 1 <= self.n_features <= len(self.target):
            raise ValueError(
                f"FeatureDistance: this discriminator has {len(self.target)} features; expected "
                f"n_features from 1 to that, got {self.n_features}."
            )

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """d of one image for each measurement."""
        features = self._features(measure(self.seen, x))
        pairs = zip(self.target, features, strict=True)
        return torch.stack([(a - b).abs().flatten(1).mean(1) for a, b in pairs]).sum(0)

    def table(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "n m"]:
        """The distance of each measurement to each of m images."""
        features = self._features(self.seen.A(x))
        pairs = zip(self.target, features, strict=True)
        distances = [torch.cdist(a.flatten(1), b.flatten(1), p=1) / a[0].numel() for a, b in pairs]
        return torch.stack(distances).sum(0)

    @cached_property
    def seen(self) -> "SeenImage":
        """x -> S A x."""
        remedy = "No image can be made of its measurements: use Penalties(features=0)."
        op = check_linear("FeatureDistance", self.op, remedy)
        gamma = (PIXEL_STD / max(self.sigma, SMALLEST_NOISE)) ** 2
        return SeenImage(op, gamma, self.op.img_size)

    @cached_property
    def target(self) -> list[Tensor]:
        """The features of S y."""
        with torch.no_grad():
            return self._features(self.seen.of(self.y))

    def _features(self, image: Tensor) -> list[Tensor]:
        return self.discriminator.features(image)[-self.n_features :]


@dataclass(frozen=True, eq=False)
class SeenImage(Operator):
    """x -> S A x with S y = argmin_u gamma/2 |A u - y|^2 + 1/2 |u - 1/2|^2.

    Its derivative (gamma A^T A + I)^-1 gamma A^T A is symmetric, so it is its own transpose.
    """

    op: Linear
    gamma: float
    img_size: ImageSize
    noise_model: None = None

    def of(self, y: Tensor) -> Tensor:
        """S y."""
        grey = y.new_full((len(y), *self.img_size), 0.5)
        return self.op.prox_l2(grey, y, self.gamma)

    def _apply(self, x: Tensor) -> Tensor:
        return self.of(self.op.A(x))

    def _vjp(self, _x: Tensor, v: Tensor) -> Tensor:
        return self.op.prox_l2(torch.zeros_like(v), self.op.A(v), self.gamma)
