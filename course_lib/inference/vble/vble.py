r"""Variational Bayes in latent and image space (VBLE): a restoration that knows its own error.

The prior is that of a VAE: p(z) = N(0, I), p(x | z) = N(G(z), (L L^T)^-1). The posterior of latent
and image, given y, is approximated by

    q(z) = N(m, diag a^2),    q(x | z) = N(G(z) + nu, L^-T diag(b^2) L^-1),

the prior bent: a and b shrink what the measurement has settled (b = 1 where it says nothing), and
nu adds what D cannot draw. The best such q minimises minus the ELBO, see `objective`. A prior with
a latent above z, p(h) p(z | h), has one more factor, q(h) = N(m_h, diag a_h^2). Its draws
z = m + a e and x = G(z) + nu + L^-T (b e') are functions of standard normal numbers, through which
gradients reach m, a, b and nu.

Source: Biquard, Chabert, Genin, Latry & Oberlin, 2023, arXiv:2311.17744 (VBLE) and 2024,
arXiv:2412.04130 (VBLE-xz).
"""

from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from course_lib.inference.latent.generator import (
    HierarchicalGenerator,
    LatentGenerator,
    check_evaluation,
)
from course_lib.inference.latent.start import encoded, smooth_guess
from course_lib.inference.vble.descent import StochasticAdam, with_fixed_draws, with_fresh_draws
from course_lib.inference.vble.factors import Eps, Parameters, draw_eps
from course_lib.inference.vble.objective import Objective
from course_lib.inference.vble.posterior import VariationalPosterior
from course_lib.operators import GaussianNoise, Operator
from course_lib.protocols import Likelihood
from course_lib.rng import check_generator
from course_lib.solvers import LBFGS, Adam
from course_lib.validation import check_measurement

LATENT_STEP = 5.0  # steps of z and h by the encoder's deviations: flat places need small ones
Kind = Literal["gaussian", "point"]
VARIANTS: dict[str, dict[str, Any]] = {
    "MAP-z": {"latent": "point", "image": "point", "nu": False},
    "VBLE-z": {"latent": "gaussian", "image": "point", "nu": False},
    "VBLE-x": {"latent": "point", "image": "gaussian", "nu": False},
    "VBLE-xz (nu = 0)": {"latent": "gaussian", "image": "gaussian", "nu": False},
    "VBLE-xz": {"latent": "gaussian", "image": "gaussian", "nu": True},
}


@dataclass(frozen=True, eq=False)
class VBLE:
    """Variational Bayes with a VAE as prior; five settings of it have names, see `variant`.

        posterior = VBLE(load_pretrained("structured_vae_portraits64")).fit(op, y, generator=g)
        posterior.mean, posterior.std, posterior.sample(4, generator=g)

    Args:
        vae: decode(z) has `.mean`, and `.precision_cholesky` (a structured VAE) or `.stddev`; with
            an encoder, unless `fit` is given the latents to start from. In evaluation mode.
        latent: q(z) is "gaussian", or a "point".
        image: q(x | z) is "gaussian", or a "point": then x = G(z).
        nu: whether the image may be shifted away from G(z).

    Raises:
        ValueError: another word, or nu with a point as image (its divergence would be infinite).
    """

    vae: LatentGenerator
    latent: Kind = "gaussian"
    image: Kind = "gaussian"
    nu: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("latent", self.latent), ("image", self.image)):
            if kind not in ("gaussian", "point"):
                raise ValueError(f"VBLE: {name} must be 'gaussian' or 'point', got {kind!r}.")
        if self.nu and self.image == "point":
            raise ValueError(
                "VBLE: with image='point' the image is G(z), and there is no room for nu. Set "
                "nu=False, or image='gaussian'."
            )

    @classmethod
    def variant(cls, name: str, vae: LatentGenerator) -> "VBLE":
        """One of "MAP-z", "VBLE-z", "VBLE-x", "VBLE-xz (nu = 0)", "VBLE-xz".

        Raises:
            ValueError: another name.
        """
        if name not in VARIANTS:
            raise ValueError(f"VBLE.variant: there is {', '.join(VARIANTS)}; got {name!r}.")
        return cls(vae, **VARIANTS[name])

    def fit(
        self,
        op: Operator,
        y: Tensor,
        *,
        noise: Likelihood | float | None = None,
        optimiser: StochasticAdam | LBFGS | Adam = StochasticAdam(),
        x_init: Tensor | None = None,
        z_init: Tensor | None = None,
        eps: Eps | None = None,
        generator: Generator | None = None,
    ) -> VariationalPosterior:
        """The q that minimises minus the ELBO, for all images at once, each on its own way.

        It starts from the encoder's q(z | x) at a first guess of the image, b = 1 and nu = 0. The
        network is read, never changed.

        Args:
            op: any operator; a linear one if the first guess is to be made here.
            y: measurements (B, *op.measurement_size).
            noise: gives -log p(y | A x): a noise model, or the standard deviation of Gaussian
                noise; op.noise_model by default.
            optimiser: `StochasticAdam`, with fresh draws at every step, or `LBFGS` or `Adam` with
                the same draws throughout, which find the minimum for those to many digits.
            x_init: images (B, C, H, W) for the encoder; `first_guess` by default, or
                `smooth_guess` where z has a prior of its own.
            z_init: latents (B, ...) to start from instead; log a is then -3.
            eps: the draws of every step; from the generator by default, one draw an image where
                the optimiser does not say how many.
            generator: source of the draws; not needed by MAP-z, nor where `eps` is given.

        Raises:
            ValueError: no noise model, a model in training mode or without encoder, shapes that
                do not fit.
            TypeError: draws to make and no torch.Generator; a noise model without likelihood.
        """
        check_measurement("VBLE.fit", op, y)
        check_evaluation(self.vae)
        if eps is None and "gaussian" in (self.latent, self.image):
            check_generator("VBLE.fit", generator)
        vae, noise = in_channels_last(self.vae), _likelihood(op, noise)
        free, units = self._start(vae, op, y, noise, x_init, z_init)

        def draw() -> Eps:
            n_draws = getattr(optimiser, "n_draws", 1)
            return draw_eps(free, n_draws, generator) if eps is None else eps

        f = Objective(vae, op, y, noise)
        if isinstance(optimiser, StochasticAdam):
            nu_unit = float(getattr(vae, "noise_std", 1.0))
            end = with_fresh_draws(f, free, draw, optimiser, nu_unit, units)
        else:
            end = with_fixed_draws(f, free, draw(), optimiser)
        return VariationalPosterior(vae, *end, generator and generator.clone_state())

    def _start(
        self,
        vae: LatentGenerator,
        op: Operator,
        y: Tensor,
        noise: Likelihood,
        x_init: Tensor | None,
        z_init: Tensor | None,
    ) -> tuple[Parameters, Parameters]:
        """Where the descent starts, and the lengths of its steps where they differ from 1."""
        if z_init is None:
            sigma = noise.std(y).mean().item()
            if x_init is None and isinstance(vae, HierarchicalGenerator):
                x_init = smooth_guess(op, y, sigma=sigma)
            q = encoded("VBLE.fit", vae, op, y, x_init, sigma=sigma, remedy="give z_init.")
            m, log_a = q.mean, q.stddev.log()
        else:
            m, log_a = z_init.detach(), torch.full_like(z_init, -3.0)
        zero = y.new_zeros(len(y), *op.img_size)
        free, log_scales, units = {"m": m}, {"log_a": log_a}, {}
        if isinstance(vae, HierarchicalGenerator):
            with torch.no_grad():
                q_h = vae.encode_hyper(m)
            free["m_h"], log_scales["log_a_h"] = q_h.mean, q_h.stddev.log()
            units = {"m": LATENT_STEP * log_a.exp(), "m_h": LATENT_STEP * q_h.stddev}
        free |= log_scales if self.latent == "gaussian" else {}
        free |= {"log_b": zero} if self.image == "gaussian" else {}
        return free | ({"nu": zero} if self.nu else {}), units


def _likelihood(op: Operator, noise: Likelihood | float | None) -> Likelihood:
    given = op.noise_model if noise is None else noise
    if given is None:
        raise ValueError(
            f"VBLE.fit: {type(op).__name__} has no noise model; give noise, such as its standard "
            "deviation in units of y."
        )
    given = GaussianNoise(float(given)) if isinstance(given, (int, float)) else given
    if not isinstance(given, Likelihood):
        raise TypeError(
            f"VBLE.fit: {type(given).__name__} draws noise but has no negative_log_likelihood(...) "
            "and std(...). Use GaussianNoise or PoissonNoise, or add the two."
        )
    return given


def in_channels_last(model: Any) -> Any:
    """A copy of a network with channels last: the same numbers, up to twice as fast on a CPU.

    The copy has weights of its own, which need no gradient, and shares whatever else its modules
    hold. A model that is no `nn.Module` is returned itself.
    """
    if not isinstance(model, nn.Module):
        return model
    twin = copy(model)
    for kind in ("_parameters", "_buffers"):
        setattr(twin, kind, {name: _laid_out(part) for name, part in getattr(model, kind).items()})
    twin._modules = {name: in_channels_last(part) for name, part in model._modules.items()}
    return twin


def _laid_out(part: Tensor | None) -> Tensor | None:
    four = part is not None and part.ndim == 4
    layout = torch.channels_last if four else torch.preserve_format
    return None if part is None else part.detach().clone(memory_format=layout)
