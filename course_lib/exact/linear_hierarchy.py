"""A hierarchy of latents in which everything is linear and Gaussian, so that all is known."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from course_lib.models.hvae import HVAE
from course_lib.models.top_down import TopDown
from course_lib.models.vae import gaussian
from course_lib.operators import Downsampling, gaussian_kernel, wrap_kernel


class LinearGroup(nn.Module):
    """Latents whose distributions are affine in the image drawn so far.

    Args:
        side: number of pixels of a side of the image.
        synthesis: (n, d), from latents to what they add to the image.
        forecast: (d, n), from the image so far to the mean of the prior.
        prior_std: standard deviations of the prior, (d,).
        response: (n, d), from the mean of the prior to what the image will still gain, on average.
        covariance: (n, n), that of the image given these latents and those above.
    """

    synthesis: Tensor
    forecast: Tensor
    prior_std: Tensor
    response: Tensor
    covariance: Tensor
    gain: Tensor
    posterior_std: Tensor

    def __init__(
        self,
        side: int,
        *,
        synthesis: Tensor,
        forecast: Tensor,
        prior_std: Tensor,
        response: Tensor,
        covariance: Tensor,
    ) -> None:
        super().__init__()
        self.side = side
        parts = (synthesis, forecast, prior_std, response, covariance)
        names = ("synthesis", "forecast", "prior_std", "response", "covariance")
        for name, value in zip(names, parts, strict=True):
            self.register_buffer(name, value)
        gain, posterior_std = condition(self, torch.eye(len(covariance)).to(covariance))
        self.register_buffer("gain", gain)
        self.register_buffer("posterior_std", posterior_std)

    def enter(self, maps: dict[int, Tensor], _n: int) -> Tensor:
        """The image so far, at this group's resolution."""
        return maps[self.side]

    def predict(self, state: Tensor) -> tuple[Normal, Tensor]:
        """p(z_l | z_<l), and the image so far."""
        mean = state.flatten(1) @ self.forecast.T
        return _single_pixel(mean, self.prior_std), state

    def posterior(self, state: Tensor, features: Tensor, prior: Normal) -> Normal:
        """p(z_l | z_<l, x)."""
        surprise = features.flatten(1) - self.expected(state, prior)
        return _single_pixel(prior.mean[..., 0, 0] + surprise @ self.gain.T, self.posterior_std)

    def expected(self, state: Tensor, prior: Normal) -> Float[Tensor, "b n"]:
        """E[x | z_<l], the image so far and what it will gain on average."""
        return state.flatten(1) + prior.mean[..., 0, 0] @ self.response.T

    def absorb(self, state: Tensor, z: Tensor) -> Tensor:
        """The image with what z_l adds."""
        return state + (z.flatten(1) @ self.synthesis.T).view_as(state)


def _single_pixel(mean: Tensor, std: Tensor) -> Normal:
    """N(mean, diag std^2) over maps (B, d, 1, 1)."""
    mean = mean[..., None, None]
    return gaussian(mean, std[:, None, None].expand_as(mean))


def condition(group: LinearGroup, matrix: Float[Tensor, "m n"]) -> tuple[Tensor, Tensor]:
    """How M x tells z_l, given z_<l: the gain (d, m) of the mean, and the standard deviations."""
    seen = matrix @ group.response
    information = seen.T @ torch.linalg.inv(matrix @ group.covariance @ matrix.T)
    covariance = torch.linalg.inv(torch.diag(group.prior_std**-2) + information @ seen)
    return covariance @ information, covariance.diagonal().sqrt()


class WholeImage(nn.Module):
    """The posteriors see the image itself."""

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """The image, by its side."""
        return {x.shape[-1]: x}


class FixedNoise(nn.Module):
    """p(x | z) = N(maps, noise_std^2 I)."""

    def __init__(self, noise_std: float) -> None:
        super().__init__()
        self.noise_std = noise_std

    def forward(self, maps: Tensor) -> Normal:
        """p(x | z)."""
        return gaussian(maps, torch.full_like(maps, self.noise_std))


class LinearHierarchy(HVAE):
    """z_1 = e_1, z_l = c_l z_(l-1) + sqrt(1 - c_l^2) e_l, x = sum_l U_l diag(a_l) z_l + s n.

    The columns of all U_l are orthonormal. Then component j of one group talks to component j of
    the others only, so that the posterior of each group given those above it is a diagonal
    Gaussian: the posteriors of this HVAE are exact, and its ELBO is log p(x).

    Args:
        basis: (n, L d) with orthonormal columns, n a square: the first d belong to group 0.
        amplitudes: a, (L, d).
        coupling: c_1, ..., c_(L-1), each in (-1, 1).
        noise_std: s.

    Raises:
        ValueError: sizes that do not fit, or columns that are not orthonormal.
    """

    def __init__(
        self,
        basis: Float[Tensor, "n groups_d"],
        amplitudes: Float[Tensor, "groups d"],
        coupling: Sequence[float],
        noise_std: float,
    ) -> None:
        n, (length, d) = len(basis), amplitudes.shape
        side = math.isqrt(n)
        if side**2 != n or basis.shape[1] != length * d or len(coupling) != length - 1:
            raise ValueError(
                "LinearHierarchy: expected a basis (n, L d) with n a square, amplitudes (L, d) and "
                f"L - 1 couplings, got {tuple(basis.shape)}, {tuple(amplitudes.shape)} and "
                f"{len(coupling)}."
            )
        if not torch.allclose(basis.T @ basis, torch.eye(length * d).to(basis), atol=1e-6):
            raise ValueError("LinearHierarchy: the columns of basis must be orthonormal.")
        drawn = [u * a for u, a in zip(basis.split(d, 1), amplitudes, strict=True)]
        c = (0.0, *coupling)

        def response(level: int) -> Tensor:
            """What a unit of z_l adds to the mean of the image, by way of the groups below too."""
            parts = [drawn[k] * math.prod(c[level + 1 : k + 1]) for k in range(level, length)]
            return torch.stack(parts).sum(0)

        groups = []
        for level in range(length):
            covariance = noise_std**2 * torch.eye(n).to(basis)  # of the image given z_l and above
            for below in range(level + 1, length):
                covariance += (1 - c[below] ** 2) * response(below) @ response(below).T
            variance = basis.new_full((d,), 1 - c[level] ** 2)
            above = drawn[level - 1] if level else torch.zeros_like(drawn[0])
            groups.append(
                LinearGroup(
                    side,
                    synthesis=drawn[level],
                    forecast=c[level] * torch.linalg.pinv(above),
                    prior_std=variance.sqrt(),
                    response=response(level),
                    covariance=covariance,
                )
            )
        decoder = TopDown(groups, {str(side): 1}, FixedNoise(noise_std))
        super().__init__(
            WholeImage(), decoder.to(basis.dtype), img_size=(1, side, side), centre=nn.Identity()
        )


class LinearMeasurementEncoder(nn.Module):
    """p(z_l | z_<l, y) for y = M x in a `LinearHierarchy`: the optimal encoder of measurements.

    Exact where M x mixes no two components of a group: then these distributions are diagonal too.

    Args:
        hierarchy: the prior.
        matrix: M, (m, n).
        k: number of groups that are told.
    """

    def __init__(self, hierarchy: LinearHierarchy, matrix: Float[Tensor, "m n"], k: int) -> None:
        super().__init__()
        self.groups, self.k = list(hierarchy.decoder.dec_blocks)[:k], k
        self.register_buffer("matrix", matrix)
        self.conditionals = [condition(group, matrix) for group in self.groups]

    def features(self, y: Float[Tensor, "b c h w"]) -> dict[int, Tensor]:
        """The measurement, by its side."""
        return {y.shape[-1]: y}

    def posterior(
        self, index: int, state: Tensor, features: dict[int, Tensor], prior: Normal
    ) -> Normal:
        """p(z_l | z_<l, y)."""
        (y,) = features.values()
        group, (gain, std) = self.groups[index], self.conditionals[index]
        surprise = y.flatten(1) - group.expected(state, prior) @ self.matrix.T
        mean = prior.mean + (surprise @ gain.T)[..., None, None]
        return gaussian(mean, std[:, None, None].expand_as(mean))


def aliased_hierarchy(
    side: int = 8,
    factor: int = 2,
    *,
    amplitudes: Sequence[float] = (1.0, 0.6),
    coupling: float = 0.5,
    noise_std: float = 0.1,
) -> LinearHierarchy:
    """Low frequencies in group 0; in group 1 the frequencies that subsampling confuses with them.

    Behind a symmetric prefilter, a small pixel grid shows the four lowest cosines of the image,
    each mixed with its alias: so a measurement mixes no two components of a group, and
    `LinearMeasurementEncoder` is exact.

    Args:
        side: number of pixels of a side of the image.
        factor: that of the subsampling.
        amplitudes: standard deviations of what the two groups draw.
        coupling: c, between a cosine and its alias.
        noise_std: s.
    """
    i, j = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    low = [(0, 0), (1, 0), (0, 1), (1, 1)]
    modes = [*low, *((a + side // factor, b) for a, b in low)]
    waves = [(2 * torch.pi * (a * i + b * j) / side).cos().flatten() for a, b in modes]
    basis = torch.stack([wave / wave.norm() for wave in waves], 1)
    strength = torch.tensor(amplitudes, dtype=torch.float64)[:, None].expand(2, len(low))
    return LinearHierarchy(basis, strength, [coupling], noise_std)


def aliasing_sensor() -> Downsampling:
    """Half the resolution of 8 x 8, behind a Gaussian that is too narrow to prevent aliases.

    It is the measurement for which `aliased_hierarchy` is made.
    """
    kernel = wrap_kernel(gaussian_kernel(std=0.8).double(), (8, 8))
    return Downsampling((1, 8, 8), 2, kernel)
