"""Numbers of chapter 13: what models think of noise, of contrast, and of blur."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from scipy.stats import beta
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.diffusion import Denoiser, dequantise, estimate_potential, rademacher
from course_lib.functionals import Functional, InvariantSparsity, SmoothedTV
from course_lib.models import EmpiricalMixture, load_pretrained
from course_lib.operators import (
    Blur,
    airy_kernel,
    defocus_kernel,
    gaussian_kernel,
    motion_kernel,
    wrap_kernel,
)
from course_lib.random import generator_from, normal_like
from course_lib.results import Result, experiment
from course_lib.training.recipes.diffusion import Halved

CHAPTER = "13_likelihood"
WORLDS = ("photos", "plates", "portraits")
SIGMA = 0.01  # noise level of the laws, and of the noise that images get
FAMILIES: dict[str, Callable[[float], Tensor]] = {
    "gaussian": gaussian_kernel,
    "motion": motion_kernel,
    "airy": airy_kernel,
    "defocus": defocus_kernel,
}
THETAS = (0.0, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)  # in pixels; at 0 every kernel is the identity
TV_EPS = 1e-3  # of smoothed total variation: small against the differences in an image

Potential = Callable[[Tensor], Tensor]  # images (B, C, H, W) to nats (B,)


@experiment(CHAPTER)
def blur(budget: str) -> list[Result]:
    """How the potential of a model falls with blur, for its own held-out world."""
    n, steps, thetas = {
        "smoke": (2, 2, (0.0, 1.0)),
        "class": (4, 6, THETAS),
        "full": (100, 8, THETAS),
    }[budget]
    results = []
    for world in WORLDS:
        x = held_out(world, n)
        q = model_potential(load_pretrained(f"diffusion_{world}32"), x, n_steps=steps)
        for family in FAMILIES:
            change = blur_changes(q, x, family, thetas)
            results += summary(f"{world}_{family}", change, thetas, f"held-out {world}, 32 x 32")
    return results


@experiment(CHAPTER)
def blur_by_formula(budget: str) -> list[Result]:
    """The same for total variation and for wavelets, as densities fitted to each world."""
    n = {"smoke": 2, "class": 8, "full": 100}[budget]
    results = []
    for world in WORLDS:
        x = held_out(world, n)
        for name, penalty in penalties(x).items():
            q = fitted(penalty, x)
            for family in FAMILIES:
                change = blur_changes(q, x, family, THETAS)
                label = f"{name}_{world}_{family}"
                results += summary(label, change, THETAS, f"held-out {world}, 32 x 32")
    return results


@experiment(CHAPTER)
def where_blur_is_unlikely(budget: str) -> list[Result]:
    """An empirical mixture, at its centres and at noisy ones, for several noise levels."""
    n, results = {"smoke": 4, "class": 16, "full": 100}[budget], []
    centres = held_out("photos", n).double()
    noise = normal_like(centres, generator_from(5))
    mixture = EmpiricalMixture(centres)
    for sigma in (0.02, 0.1, 0.5, 1.0):
        for kind, x in {"centres": centres, "samples": centres + sigma * noise}.items():
            change = blur_changes(
                lambda images, s=sigma: mixture.potential(images, s), x, "gaussian", (0.0, 1.5)
            )[-1]
            name, data = f"mixture_{kind}_{sigma:g}", f"{n} photographs that the mixture knows"
            unit = "nats per dimension"
            results.append(Result(name, change.mean().item(), unit, 0.05, data, n, 5))
            risen = (change > 0).double().mean().item()
            results.append(Result(f"{name}_risen", risen, "", 0.05, data, n, 5))
    return results


@experiment(CHAPTER)
def conditions(budget: str) -> list[Result]:
    """Blur by a Gaussian under other conditions: noise level, no noise, quantised, dequantised."""
    n, steps, thetas = {
        "smoke": (2, 2, (0.0, 1.0)),
        "class": (4, 6, (0.0, 0.4, 1.0, 2.0)),
        "full": (32, 8, THETAS),
    }[budget]
    results = []
    for world in WORLDS:
        model, x = load_pretrained(f"diffusion_{world}32"), held_out(world, n)
        options = {"n_steps": steps}
        cases = {
            "noisy_0.002": model_potential(model, x, sigma=0.002, **options),
            "noisy_0.05": model_potential(model, x, sigma=0.05, **options),
            "clean_0.01": model_potential(model, x, noisy=False, **options),
            "clean_0.002": model_potential(model, x, sigma=0.002, noisy=False, **options),
            "rounded_0.002": model_potential(model, x, sigma=0.002, rounded=True, **options),
        }
        for case, q in cases.items():
            change = blur_changes(q, x, "gaussian", thetas)
            results += summary(f"{case}_{world}", change, thetas, f"held-out {world}, {case}")
    return results


@experiment(CHAPTER)
def ranking(budget: str) -> list[Result]:
    """Mean potential of images and of what is made of them, for each model."""
    n, steps = {"smoke": (2, 2), "class": (4, 6), "full": (32, 8)}[budget]
    results = []
    for world in WORLDS:
        model = load_pretrained(f"diffusion_{world}32")
        for other, x in {name: held_out(name, n) for name in WORLDS}.items():
            variants = altered(x) if other == world else {"itself": x}
            for name, images in variants.items():
                q = model_potential(model, images, n_steps=steps)
                value = q(images).mean().item() / images[0].numel()
                label = f"rank_{world}_{name if other == world else other}"
                data = f"held-out {other}, model of {world}"
                results.append(Result(label, value, "nats per dimension", 0.05, data, n, 7))
    return results


def held_out(world: str, n: int) -> Float[Tensor, "n 1 32 32"]:
    """The first n test images of a world, at half the resolution."""
    return Halved(load_world(world, "test", n, quiet=True))[torch.arange(n)]


def altered(x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
    """An image, and what can be made of it without learning anything."""
    mean = x.mean((2, 3), keepdim=True)
    order = torch.randperm(x[0, 0].numel(), generator=generator_from(8))
    return {
        "itself": x,
        "noise": x + 0.05 * normal_like(x, generator_from(9)),
        "blur": blurred(x, "gaussian", 1.5),
        "contrast": mean + 0.5 * (x - mean),
        "negative": 1 - x,
        "upside_down": x.flip(2),
        "shuffled": x.flatten(2)[:, :, order].view_as(x),
        "flat": mean.expand_as(x),
    }


def blurred(x: Float[Tensor, "b c h w"], family: str, theta: float) -> Float[Tensor, "b c h w"]:
    """h_theta * x on a periodic image, with a kernel of one of the FAMILIES; x itself at 0."""
    kernel = wrap_kernel(FAMILIES[family](theta, dtype=x.dtype), tuple(x.shape[-2:]))
    return Blur(kernel, tuple(x.shape[1:])).A(x)


def blur_changes(
    q: Potential, x: Float[Tensor, "b c h w"], family: str, thetas: Sequence[float]
) -> Float[Tensor, "t b"]:
    """(q(h_theta * x) - q(x)) / n for each theta and image, nats per dimension."""
    nats = torch.stack([q(blurred(x, family, theta)) for theta in (0.0, *thetas[1:])])
    return (nats - nats[0]).double() / x[0].numel()


def model_potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    *,
    sigma: float = SIGMA,
    n_steps: int = 8,
    n_probes: int = 1,
    noisy: bool = True,
    rounded: bool = False,
) -> Potential:
    """The potential of a model at noise level sigma, for images that are to be compared.

    Args:
        x: the images to begin with: what is compared has their shape and order.
        sigma: of the law, and of the noise that each image gets, the same in all comparisons: a
            clean image has no place in the law at noise level sigma, where all have noise.
        noisy: False to ask about the images as they are.
        rounded: round images to 8 bits, and dequantise them with the same noise each time.
    """
    noise = sigma * normal_like(x, generator_from(5)) if noisy else torch.zeros_like(x)
    probes = rademacher(tuple(x.shape[1:]), n_probes, generator=generator_from(6))

    def q(images: Tensor) -> Tensor:
        if rounded:
            levels = (255 * images.clamp(0, 1)).round() / 255
            images = dequantise(levels, generator=generator_from(4))
        return estimate_potential(
            denoiser, images + noise, n_steps, probes=probes, sigma_min=sigma
        ).nats

    return q


def penalties(x: Float[Tensor, "b c h w"]) -> dict[str, Functional]:
    """Convex functionals that do not depend on where a periodic image begins."""
    return {"tv": SmoothedTV(1.0, TV_EPS), "wavelets": InvariantSparsity(1.0, tuple(x.shape[1:]))}


def fitted(penalty: Functional, x: Float[Tensor, "b c h w"]) -> Potential:
    """lam R(x), with the lam that makes exp(-lam R) / Z(lam) most likely on the images x.

    For R that is homogeneous of degree 1, Z is proportional to lam^-n (constants aside, on which
    R does not depend), so lam = n / mean R. Potentials are up to a constant.
    """
    lam = x[0].numel() / penalty(x).mean()
    return lambda images: lam * penalty(images)


def summary(
    label: str, change: Float[Tensor, "t b"], thetas: Sequence[float], data: str
) -> list[Result]:
    """Mean and spread at each theta, and the part of the images whose potential never rises."""
    n, unit, results = change.shape[1], "nats per dimension", []
    for theta, values in zip(thetas[1:], change[1:], strict=True):
        name = f"change_{label}_{theta:g}"
        results.append(Result(name, values.mean().item(), unit, 0.02, data, n, 5))
        spread = values.std().item()
        results.append(Result(f"spread_{label}_{theta:g}", spread, unit, None, data, n, 5))
    falls = int((change.diff(dim=0) <= 0).all(0).sum())
    low, high = interval(falls, n)
    rise = change.diff(dim=0).amax().item()
    return [
        *results,
        Result(f"falls_{label}", falls / n, "", 0.05, data, n, 5),
        Result(f"falls_low_{label}", low, "", None, data, n, 5),
        Result(f"falls_high_{label}", high, "", None, data, n, 5),
        Result(f"rise_{label}", rise, f"{unit}, largest between neighbours", None, data, n, 5),
    ]


def interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Of a proportion of which k in n were counted.

    Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high
