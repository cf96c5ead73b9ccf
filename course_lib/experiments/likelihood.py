"""Numbers of chapter 13: what models think of noise, of contrast, and of blur."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.data.views import Halved
from course_lib.data.worlds import load_world
from course_lib.diffusion import (
    CommonNoisePotential,
    Denoiser,
    Hutchinson,
    PotentialEstimate,
    dequantise,
    estimate_potential,
    rademacher,
)
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.experiments.shared import means
from course_lib.fourier import filter_image, half_spectrum_weights
from course_lib.functionals import InvariantSparsity, SmoothedTV, fitted_potential
from course_lib.metrics import proportion_interval
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
SIGMA = 0.01  # noise level of the densities, and of the noise that images get
N_STEPS = 6  # steps of the solver, 37 evaluations; `accuracy` measures the error
SIGN_TIMES = (0.001, 80.0)
FAMILIES: dict[str, Callable[..., Tensor]] = {
    "gaussian": gaussian_kernel,
    "motion": motion_kernel,
    "airy": airy_kernel,
    "defocus": defocus_kernel,
}
THETAS = (0.0, 0.4, 0.7, 1.2, 2.4)  # in pixels; at 0 every kernel is the identity
TV_EPS = 1e-3  # small against the differences in an image

Potential = Callable[[Tensor], Tensor]  # images (B, C, H, W) to nats (B,)


def of_each_world(run: Callable[[str, str], list[Result]]) -> Callable[[str, str], list[Result]]:
    """Register run(world, budget) as one experiment a world: each of them is minutes of work."""
    for world in WORLDS:
        chosen = partial(run, world)
        chosen.__name__ = f"{run.__name__}_{world}"
        experiment(CHAPTER)(chosen)
    return run


@of_each_world
def blur(world: str, budget: str) -> list[Result]:
    """How the potential of a model changes with blur, for its own held-out world."""
    n, steps, thetas = {
        "smoke": (2, 2, (0.0, 1.0)),
        "class": (4, N_STEPS, THETAS),
        "full": (100, N_STEPS, THETAS),
    }[budget]
    x = held_out(world, n)
    q = model_potential(network(world), x, n_steps=steps)
    before, results = q(x), []
    for family in FAMILIES:
        change = blur_changes(q, x, family, thetas, before)
        results += summary(f"{world}_{family}", change, thetas, f"held-out {world}, 32 x 32")
    return results


@of_each_world
def accuracy(world: str, budget: str) -> list[Result]:
    """What other steps, other probes and other noise make of the changes under blur."""
    n, thetas = {"smoke": (2, (0.0, 1.0))}.get(budget, (8, (0.0, 0.7, 2.4)))
    model, x, results = network(world), held_out(world, n), []
    size, data = x[0].numel(), f"held-out {world}, blurred by Gaussians of {thetas[1:]} pixels"
    images = torch.cat([blurred(x, "gaussian", theta) for theta in thetas])

    def estimate(
        n_steps: int = N_STEPS, probe_seed: int = 6, noise_seed: int = 5
    ) -> PotentialEstimate:
        noise = SIGMA * normal_like(x, generator_from(noise_seed))
        probes = rademacher(tuple(x.shape), 1, generator=generator_from(probe_seed))
        probes = probes.repeat(1, len(thetas), 1, 1, 1)
        noisy = images + noise.repeat(len(thetas), 1, 1, 1)
        return estimate_potential(model, noisy, n_steps, Hutchinson(probes), sigma_min=SIGMA)

    def changes(found: PotentialEstimate) -> Tensor:
        nats = found.value.view(len(thetas), n) / size
        return nats[1:] - nats[0]

    def add(name: str, value: Tensor, unit: str = "nats per dimension") -> None:
        results.append(Result(f"{name}_{world}", value.item(), unit, None, data, n, 5))

    usual, fine = estimate(), estimate(n_steps=2 * N_STEPS)
    others = {"steps": fine, "probes": estimate(probe_seed=60), "noise": estimate(noise_seed=50)}
    for what, other in others.items():
        gap = changes(usual) - changes(other)
        add(f"accuracy_{what}", gap.abs().max())
        add(f"accuracy_{what}_mean", gap.mean(1).abs().max())
    error = (usual.value - fine.value).abs()
    add("solver_error", error.mean() / size)
    add("solver_error_ratio", error.mean() / usual.integration_error.mean(), "true to estimated")
    return results


@of_each_world
def conditions(world: str, budget: str) -> list[Result]:
    """Blur by a Gaussian under other conditions: noise levels, no noise, 8 bits, a seam."""
    n, thetas = {"smoke": (2, (0.0, 1.0))}.get(budget, (10, (0.0, 0.4, 1.2, 2.4)))
    steps = 2 if budget == "smoke" else N_STEPS
    model, x, results = network(world), held_out(world, n), []
    cases: dict[str, dict] = {
        "noisy_0.002": {"sigma": 0.002},
        "noisy_0.05": {"sigma": 0.05},
        "clean_0.01": {"noisy": False},
        "clean_0.002": {"sigma": 0.002, "noisy": False},
        "rounded_0.002": {"sigma": 0.002, "rounded": True},
    }
    for case, options in cases.items():
        q = model_potential(model, x, n_steps=steps, **options)
        change = blur_changes(q, x, "gaussian", thetas)
        results += summary(f"{case}_{world}", change, thetas, f"held-out {world}, {case}")
    q = model_potential(model, x, n_steps=steps)
    change = blur_changes(q, x, "gaussian", thetas, periodic=True)
    return results + summary(f"periodic_{world}", change, thetas, f"held-out {world}, periodic")


@of_each_world
def strangers(world: str, budget: str) -> list[Result]:
    """Blur by a Gaussian in the eyes of the models of the other worlds, which are wrong here."""
    n, thetas = {"smoke": (2, (0.0, 1.0))}.get(budget, (10, (0.0, 0.4, 1.2, 2.4)))
    steps = 2 if budget == "smoke" else N_STEPS
    x, results = held_out(world, n), []
    for other in WORLDS:
        if other != world:
            change = blur_changes(
                model_potential(network(other), x, n_steps=steps), x, "gaussian", thetas
            )
            data = f"held-out {world}, model of {other}"
            results += summary(f"{world}_by_{other}", change, thetas, data)
    return results


@of_each_world
def ranking(world: str, budget: str) -> list[Result]:
    """Mean potential of images and of what is made of them, by the model of their world."""
    n, steps = {"smoke": (2, 2)}.get(budget, (10, N_STEPS))
    model, results, own = network(world), [], held_out(world, n)
    images = altered(own) | {name: held_out(name, n) for name in WORLDS if name != world}
    q = model_potential(model, own, n_steps=steps)
    itself = q(own)
    for name, changed in images.items():
        nats = itself if name == "itself" else q(changed)
        data = f"{name} of held-out {world}" if name not in WORLDS else f"held-out {name}"
        found = {
            "rank": (nats / own[0].numel(), "nats per dimension", 0.05),
            "likelier": (nats < itself, "", 0.1),
        }
        results += means(found, f"{{}}_{world}_{name}", f"{data}, model of {world}", n, 7)
    return results


@experiment(CHAPTER)
def blur_by_formula(budget: str) -> list[Result]:
    """The same for total variation and for wavelets, as densities fitted to each world."""
    n = {"smoke": 2, "class": 8, "full": 100}[budget]
    results = []
    for world in WORLDS:
        x = held_out(world, n)
        for name, penalty in penalties(x).items():
            q = fitted_potential(penalty, x)
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
            q = partial(mixture.potential, sigma=sigma)
            change = blur_changes(q, x, "gaussian", (0.0, 1.5))[-1]
            found = {"": (change, "nats per dimension", 0.05), "_risen": (change > 0, "", 0.05)}
            data = f"{n} photographs that the mixture knows"
            results += means(found, f"mixture_{kind}_{sigma:g}{{}}", data, n, 5)
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
    """The model of a world, in the layout that two cores like best: a third less time.

    With one probe at a time: PyTorch cannot batch backward passes in this layout.
    """
    return load_pretrained(f"diffusion_{world}32").to(memory_format=torch.channels_last)


def held_out(world: str, n: int) -> Float[Tensor, "n 1 32 32"]:
    """The first n test images of a world, at half the resolution."""
    return Halved(load_world(world, "test", n, progress=False))[torch.arange(n)]


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
    *,
    sigma: float = SIGMA,
    n_steps: int = N_STEPS,
    noisy: bool = True,
    rounded: bool = False,
) -> Potential:
    """The potential of a model for versions of the images x, with common noise and probes.

    Args:
        denoiser: the model.
        x: images; what is compared has their shape and order.
        sigma: noise level of the density, and of the noise that each image gets.
        n_steps: number of steps of the solver.
        noisy: False for the potential of the images as they are.
        rounded: round images to 8 bits, and dequantise them with the same noise each time.
    """
    noise = sigma * normal_like(x, generator_from(5)) if noisy else torch.zeros_like(x)
    probes = rademacher(tuple(x.shape), 1, generator=generator_from(6))
    q = CommonNoisePotential(denoiser, noise, probes, sigma, n_steps)
    if not rounded:
        return q

    def of_bytes(images: Tensor) -> Tensor:
        levels = (255 * images.clamp(0, 1)).round() / 255
        return q(dequantise(levels, generator=generator_from(4)))

    return of_bytes


def penalties(x: Float[Tensor, "b c h w"]) -> dict[str, Potential]:
    """Total variation and wavelets of the mirrored image: convex, invariant under translations."""
    tv = SmoothedTV(1.0, TV_EPS)
    wavelets = InvariantSparsity(1.0, tuple(mirror(x).shape[1:]))
    return {"tv": lambda u: tv(mirror(u)), "wavelets": lambda u: wavelets(mirror(u))}


def summary(
    label: str, change: Float[Tensor, "t b"], thetas: Sequence[float], data: str
) -> list[Result]:
    """Mean and spread at each theta, the share of images below q(x), and of those that fall.

    An image falls if its potential never rises from one theta to the next.
    """
    n, unit, found = change.shape[1], "nats per dimension", {}
    for theta, values in zip(thetas[1:], change[1:], strict=True):
        found[f"change_{label}_{theta:g}"] = values, unit, 0.02
        found[f"spread_{label}_{theta:g}"] = values.std(), unit, None
        found[f"below_{label}_{theta:g}"] = values <= 0, "", 0.05
    rises = change.diff(dim=0)
    falls = (rises <= 0).all(0)
    low, high = proportion_interval(int(falls.sum()), n)
    found |= {
        f"falls_{label}": (falls, "", 0.05),
        f"falls_low_{label}": (low, "", None),
        f"falls_high_{label}": (high, "", None),
        f"rise_{label}": (rises.amax(), f"{unit}, largest between neighbours", None),
    }
    return means(found, "{}", data, n, 5)
