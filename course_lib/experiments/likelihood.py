"""Numbers of chapter 13: what models think of noise, of contrast, and of blur."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.data.views import Halved
from course_lib.diffusion import (
    CommonNoisePotential,
    Denoiser,
    GaussLegendre,
    Hutchinson,
    PotentialEstimate,
    Probing,
    dequantise,
    estimate_potential,
    rademacher,
)
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.experiments.shared import Found, load_images, means
from course_lib.fourier import filter_image, half_spectrum_weights
from course_lib.functionals import InvariantSparsity, SmoothedTV, fitted_potential
from course_lib.metrics import mean_half_width, proportion_interval
from course_lib.models import load_pretrained
from course_lib.operators import (
    Blur,
    MirroredBlur,
    airy_kernel,
    defocus_kernel,
    gaussian_kernel,
    mirror,
    motion_kernel,
    wrap_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like

CHAPTER = "13_likelihood"
WORLDS = ("photos", "plates", "portraits")
SIGMA = 0.01  # noise level of the densities
NODES = GaussLegendre(10)  # where the trace is taken; `accuracy` measures the error
SIGN_TIMES = (0.001, 80.0)
FAMILIES: dict[str, Callable[..., Tensor]] = {
    "gaussian": gaussian_kernel,
    "motion": motion_kernel,
    "airy": airy_kernel,
    "defocus": defocus_kernel,
}
THETAS = (0.0, 0.4, 1.2, 2.4)  # in pixels; at 0 every kernel is the identity
FEW_THETAS = (0.0, 1.2, 2.4)
WIDEST = (0.0, 2.4)
N_IMAGES = 50  # of each world, where the claim of the paper is tested
TV_EPS = 1e-3  # small against the differences in an image

Potential = Callable[[Tensor], Tensor]  # images (B, C, H, W) to nats (B,)


class Condition(NamedTuple):
    """How the potentials of h * x and x are compared.

    Args:
        sigma: noise level of the density.
        before: standard deviation of the noise that x has before it is blurred. With `sigma` it
            makes x a typical image of the density; q(h * x) and q(x) are still those of an image
            and of its blurred version.
        after: standard deviation of the noise that both images get, the same, after the blur.
        periodic: blur across the borders, instead of mirrored ones.
    """

    sigma: float = SIGMA
    before: float = 0.0
    after: float = 0.0
    periodic: bool = False


CONDITIONS = {
    "level_0.002": Condition(0.002),
    "level_0.05": Condition(0.05),
    "level_0.2": Condition(0.2),
    "before_0.01": Condition(before=SIGMA),
    "before_0.05": Condition(0.05, before=0.05),
    "after_0.05": Condition(0.05, after=0.05),
    "periodic": Condition(periodic=True),
}


def of_each_world(run: Callable[[str, str], list[Result]]) -> Callable[[str, str], list[Result]]:
    """Register run(world, budget) as one experiment a world: each of them is minutes of work."""
    for world in WORLDS:
        chosen = partial(run, world)
        chosen.__name__ = f"{run.__name__}_{world}"
        experiment(CHAPTER, on_photographs=world == "photos")(chosen)
    return run


@of_each_world
def blur(world: str, budget: str) -> list[Result]:
    """q(h * x) - q(x), the quantity of the proposition, for held-out images of the model's world.

    The image is dequantised before the blur, and nothing is added after it.
    """
    return changes_of_families(world, budget, Condition(), n=N_IMAGES, thetas=THETAS, stride=4)


@of_each_world
def noisy_blur(world: str, budget: str) -> list[Result]:
    """q(h * x + w) - q(x + w): is a blurred and noisy image likelier than a noisy one?"""
    return changes_of_families(world, budget, Condition(after=SIGMA), n=10, label="noisy_")


def changes_of_families(
    world: str,
    budget: str,
    condition: Condition,
    *,
    n: int,
    thetas: tuple[float, ...] = FEW_THETAS,
    stride: int = 1,
    label: str = "",
) -> list[Result]:
    """Changes of the potential under the four families.

    Args:
        n: number of images at the full budget.
        thetas: widths.
        stride: of the sublattices of the probes, stride^2 for each image.
        label: what the names of the results begin with.
    """
    n, nodes = {"smoke": (2, GaussLegendre(3)), "class": (4, NODES)}.get(budget, (n, NODES))
    x = dequantised(held_out(world, n, budget))
    q = model_potential(network(world), x, condition, stride=stride, nodes=nodes)
    before, results = q(x), []
    for family in FAMILIES:
        change = blur_changes(q, x, family, thetas, before)
        data = f"held-out {world}, 32 x 32, {stride**2} probes each"
        results += summary(f"{label}{world}_{family}", change, thetas, data)
    return results


@of_each_world
def accuracy(world: str, budget: str) -> list[Result]:
    """What nodes, probes and the draw of the dequantisation add to the changes under blur.

    Spreads over probes are those of one image; a mean over n images has 1 / sqrt(n) of them, since
    each image has probes of its own.
    """
    n, n_probes, thetas = {"smoke": (2, 2, (0.0, 1.0))}.get(budget, (2, 16, FEW_THETAS))
    model, originals, results = network(world), held_out(world, n, budget), []
    x = dequantised(originals)
    size, data = x[0].numel(), f"held-out {world}, blurred by Gaussians of {thetas[1:]} pixels"
    images = torch.cat([blurred(x, "gaussian", theta) for theta in thetas])

    def estimate(
        trace: Hutchinson | Probing, rule: GaussLegendre | int = NODES, batch: Tensor = images
    ) -> PotentialEstimate:
        return estimate_potential(model, batch, rule, trace, sigma_min=SIGMA)

    def signs(count: int, seed: int) -> Tensor:
        draw = rademacher(tuple(x.shape), count, generator=generator_from(seed))
        return draw.repeat(1, len(thetas), 1, 1, 1)

    def changes(found: PotentialEstimate) -> Tensor:
        nats = found.by_probe.view(-1, len(thetas), n) / size
        return nats[:, 1:] - nats[:, :1]

    def add(name: str, value: Tensor, unit: str = "nats per dimension") -> None:
        results.append(Result(f"{name}_{world}", value.item(), unit, None, data, n, 6))

    plain = changes(estimate(Hutchinson(signs(n_probes, 6))))
    lattice = changes(estimate(Probing(signs(2, 7), 4)))
    coarse = changes(estimate(Probing(signs(2, 8), 2)))
    one_probe = plain.var(0).mean().sqrt()
    add("probe_std", one_probe, "nats per dimension, one probe")
    add("probe_std_16", one_probe / 4, "nats per dimension, 16 independent probes")
    add("probe_std_lattice_4", coarse.var(0).mean().sqrt(), "nats per dimension, 4 probes")
    add("probe_std_lattice_16", lattice.var(0).mean().sqrt(), "nats per dimension, 16 probes")
    add("image_std", lattice.mean(0).std(1).square().mean().sqrt(), "nats per dimension")

    probe = Hutchinson(signs(1, 6))
    fine = changes(estimate(probe, GaussLegendre(2 * NODES.n)))[0]
    gap = changes(estimate(probe))[0] - fine
    add("accuracy_nodes", gap.abs().max())
    add("accuracy_nodes_mean", gap.mean(1).abs().max())
    other = dequantised(originals, seed=40)
    other = torch.cat([blurred(other, "gaussian", theta) for theta in thetas])
    gap = changes(estimate(Probing(signs(1, 7), 4), batch=other))[0] - lattice[0]
    add("accuracy_draw", gap.abs().max())
    add("accuracy_draw_mean", gap.mean(1).abs().max())
    usual, finer = estimate(probe, 6), estimate(probe, 12)
    error = (usual.value - finer.value).abs()
    add("solver_error", error.mean() / size)
    add("solver_error_ratio", error.mean() / usual.integration_error.mean(), "true to estimated")
    return results


@of_each_world
def conditions(world: str, budget: str) -> list[Result]:
    """Blur by a Gaussian under other conditions: noise levels, noise in x, noise after, a seam."""
    n, thetas = {"smoke": (2, (0.0, 1.0)), "class": (4, WIDEST)}.get(budget, (10, WIDEST))
    nodes = GaussLegendre(3) if budget == "smoke" else NODES
    model, x, results = network(world), dequantised(held_out(world, n, budget)), []
    for name, condition in CONDITIONS.items():
        start = x + condition.before * normal_like(x, generator_from(3))
        q = model_potential(model, x, condition, nodes=nodes)
        change = blur_changes(q, start, "gaussian", thetas, periodic=condition.periodic)
        results += summary(f"{name}_{world}", change, thetas, f"held-out {world}, {name}")
    return results


@of_each_world
def strangers(world: str, budget: str) -> list[Result]:
    """Blur by a Gaussian in the eyes of the models of the other worlds, which are wrong here."""
    n, thetas = {"smoke": (2, (0.0, 1.0)), "class": (4, FEW_THETAS)}.get(budget, (20, FEW_THETAS))
    nodes = GaussLegendre(3) if budget == "smoke" else NODES
    x, results = dequantised(held_out(world, n, budget)), []
    for other in WORLDS:
        if other != world:
            q = model_potential(network(other), x, Condition(), nodes=nodes)
            change = blur_changes(q, x, "gaussian", thetas)
            data = f"held-out {world}, model of {other}"
            results += summary(f"{world}_by_{other}", change, thetas, data)
    return results


@of_each_world
def ranking(world: str, budget: str) -> list[Result]:
    """Mean potential of images and of what is made of them, by the model of their world.

    All images have the same noise, of the level of the density. Intervals are those of the
    difference from the image itself, for images of other worlds of two independent means.
    """
    n, nodes = {"smoke": (2, GaussLegendre(3)), "class": (4, NODES)}.get(budget, (10, NODES))
    model, results, own = network(world), [], held_out(world, n, budget)
    images = altered(own)
    images |= {name: held_out(name, n, budget) for name in WORLDS if name != world}
    q = model_potential(model, own, Condition(after=SIGMA), nodes=nodes)
    size, itself = own[0].numel(), q(own)
    for name, changed in images.items():
        nats = itself if name == "itself" else q(changed)
        data = f"{name} of held-out {world}" if name not in WORLDS else f"held-out {name}"
        change = (nats - itself).double() / size
        half = mean_half_width(change)
        if name in WORLDS:
            half = math.hypot(mean_half_width(nats / size), mean_half_width(itself / size))
        found = {
            "rank": (nats / size, "nats per dimension", 0.05),
            "rank_change": (change, "nats per dimension", 0.05),
            "rank_half": (half, "nats per dimension, half of the 95 % interval", None),
        }
        results += means(found, f"{{}}_{world}_{name}", f"{data}, model of {world}", n, 7)
    return results


@experiment(CHAPTER, on_photographs=True)
def blur_by_formula(budget: str) -> list[Result]:
    """The same for total variation and for wavelets, as densities fitted to each world."""
    n = {"smoke": 2, "class": 8, "full": 50}[budget]
    results = []
    for world in WORLDS:
        x = dequantised(held_out(world, n, budget))
        for name, penalty in penalties(x).items():
            q = fitted_potential(penalty, x)
            for family in FAMILIES:
                change = blur_changes(q, x, family, THETAS)
                label = f"{name}_{world}_{family}"
                results += summary(label, change, THETAS, f"held-out {world}, 32 x 32")
    return results


@experiment(CHAPTER, on_photographs=True)
def where_blur_is_unlikely(budget: str) -> list[Result]:
    """An empirical mixture: at its centres, at samples of it, and with noise after the blur."""
    n, results = {"smoke": 4, "class": 12, "full": 100}[budget], []
    centres = held_out("photos", n, budget).double()
    noise = normal_like(centres, generator_from(5))
    mixture, data = EmpiricalMixture(centres), f"{n} photographs, the centres of the mixture"
    for sigma in (0.02, 0.1, 0.5, 1.0):

        def noisy(x: Tensor, sigma: float = sigma) -> Tensor:
            return mixture.potential(x + sigma * noise, sigma)

        q = partial(mixture.potential, sigma=sigma)
        cases = {"centres": (q, centres), "samples": (q, centres + sigma * noise)}
        for kind, (potential, x) in (cases | {"after": (noisy, centres)}).items():
            change = blur_changes(potential, x, "gaussian", (0.0, 1.5))[-1]
            key = f"{kind}_{sigma:g}"
            found = share_with_interval(f"risen_{{}}{key}", change > 0) | {
                f"mixture_{key}": (change, "nats per dimension", 0.05),
                f"mixture_half_{key}": (mean_half_width(change), "half of the 95 % interval", None),
            }
            results += means(found, "{}", data, n, 5)
    return results


@experiment(CHAPTER, cheap=True)
def sign_of_the_flow(_budget: str) -> list[Result]:
    """The potential of a Gaussian image by the right velocity, and by the printed one.

    A mode of variance S is scaled by g = ((S + T^2) / (S + t^2))^(1/2), or by 1 / g, between the
    times t and T; the divergence integrates to the sum of log g, or to minus it.
    """
    world, (low, high) = power_law((1, 16, 16)), SIGN_TIMES
    x = world.sample(1, generator=generator_from(4), sigma=low)
    gain = ((world.spectrum + high**2) / (world.spectrum + low**2)).sqrt()
    log_det = (half_spectrum_weights((16, 16)) * gain.log()).sum().item()
    results, data = [], "an image of the Gaussian world, 16 x 16"
    for name, scale, divergence in (("right", gain, log_det), ("wrong", 1 / gain, -log_det)):
        end = filter_image(x - world.mean, scale)
        last = end.square().sum().item() / (2 * high**2) + 128 * math.log(2 * math.pi * high**2)
        results.append(Result(f"sign_{name}", last - divergence, "nats", 1e-6, data, 1, 4))
    exact = world.potential(x, low).item()
    return [*results, Result("sign_exact", exact, "nats", 1e-6, data, 1, 4)]


def network(world: str) -> nn.Module:
    """The model of a world, in the layout that two cores like best: a third less time."""
    return load_pretrained(f"diffusion_{world}32").to(memory_format=torch.channels_last)


def held_out(world: str, n: int, budget: str = "class") -> Float[Tensor, "n 1 32 32"]:
    """The first n test images of a world, at half the resolution.

    At the full budget photographs are n different ones of BSDS500; else they are bundled.
    """
    return Halved(load_images(world, "test", n, budget))[torch.arange(n)]


def dequantised(x: Float[Tensor, "b c h w"], seed: int = 4) -> Float[Tensor, "b c h w"]:
    """The images in 8 bits, each value spread over its grey level."""
    return dequantise((255 * x.clamp(0, 1)).round() / 255, generator=generator_from(seed))


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


def blurred(
    x: Float[Tensor, "b c h w"], family: str, theta: float, *, periodic: bool = False
) -> Float[Tensor, "b c h w"]:
    """h_theta * x, with a kernel of one of the FAMILIES and mirrored or periodic borders."""
    kernel, size = FAMILIES[family](theta, dtype=x.dtype), tuple(x.shape[1:])
    if periodic:
        return Blur(wrap_kernel(kernel, size[1:]), size).A(x)
    return MirroredBlur(kernel, size).A(x)


def blur_changes(
    q: Potential,
    x: Float[Tensor, "b c h w"],
    family: str,
    thetas: Sequence[float],
    before: Float[Tensor, " b"] | None = None,
    *,
    periodic: bool = False,
) -> Float[Tensor, "t b"]:
    """(q(h_theta * x) - q(x)) / n for each theta and image, nats per dimension.

    Args:
        q: potential of images, in nats.
        x: images.
        family: key of FAMILIES.
        thetas: widths, 0 first.
        before: q(x), if it is known: no kernel changes it.
        periodic: as in `blurred`.
    """
    before = q(x) if before is None else before
    after = (q(blurred(x, family, theta, periodic=periodic)) for theta in thetas[1:])
    nats = torch.stack([before, *after])
    return (nats - before).double() / x[0].numel()


def model_potential(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    condition: Condition,
    *,
    stride: int = 1,
    nodes: GaussLegendre = NODES,
) -> Potential:
    """The potential of a model for versions of the images x, with common noise and probes.

    Args:
        denoiser: the model.
        x: images; what is compared has their shape and order.
        condition: the noise level of the density, and of the noise after the blur.
        stride: of the sublattices of the probes, stride^2 for each image.
        nodes: where the trace is taken.
    """
    noise = condition.after * normal_like(x, generator_from(5))
    trace = Probing(rademacher(tuple(x.shape), 1, generator=generator_from(6)), stride)
    return CommonNoisePotential(denoiser, noise, trace, condition.sigma, nodes)


def penalties(x: Float[Tensor, "b c h w"]) -> dict[str, Potential]:
    """Total variation and wavelets of the mirrored image: convex, invariant under translations."""
    tv = SmoothedTV(1.0, TV_EPS)
    wavelets = InvariantSparsity(1.0, tuple(mirror(x).shape[1:]))
    return {"tv": lambda u: tv(mirror(u)), "wavelets": lambda u: wavelets(mirror(u))}


def summary(
    label: str, change: Float[Tensor, "t b"], thetas: Sequence[float], data: str
) -> list[Result]:
    """Mean and spread at each theta, the share of images below q(x), and of those that fall.

    An image falls if its potential never rises from one theta to the next. Intervals hold 95 %,
    over images.
    """
    n, unit, found = change.shape[1], "nats per dimension", {}
    for theta, values in zip(thetas[1:], change[1:], strict=True):
        found |= {
            f"change_{label}_{theta:g}": (values, unit, 0.01),
            f"change_half_{label}_{theta:g}": (mean_half_width(values), unit, None),
            f"spread_{label}_{theta:g}": (values.std(), unit, None),
        } | share_with_interval(f"below_{{}}{theta:g}_{label}", values <= 0)
    rises = change.diff(dim=0)
    found |= share_with_interval(f"falls_{{}}{label}", (rises <= 0).all(0))
    found[f"rise_{label}"] = rises.amax(), f"{unit}, largest between neighbours", None
    return means(found, "{}", data, n, 5)


def share_with_interval(name: str, holds: Bool[Tensor, " n"]) -> dict[str, Found]:
    """The share of images for which something holds, with its interval (Clopper and Pearson).

    Args:
        name: name of the three results, with "{}" for "", "low_" and "high_".
        holds: for each image.
    """
    low, high = proportion_interval(int(holds.sum()), len(holds))
    return {
        name.format(""): (holds, "", 0.05),
        name.format("low_"): (low, "", None),
        name.format("high_"): (high, "", None),
    }
