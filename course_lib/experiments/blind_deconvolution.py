"""Numbers of chapter 14: image and kernel from one blurred image, on three worlds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.views import Halved
from course_lib.data.worlds import load_world
from course_lib.diffusion import Denoiser, Hutchinson, potential, rademacher
from course_lib.exact import EmpiricalMixture, favourable_signal
from course_lib.experiments.shared import mean, means
from course_lib.functionals import SmoothedTV
from course_lib.inference.blind_deconvolution import (
    Alternation,
    BlindSolution,
    DenoiserPotential,
    ImagePotential,
    ImageStep,
    JointHessian,
    KernelObjective,
    KernelStep,
    Stage,
    blind_deconvolution,
    blind_richardson_lucy,
    coarse_to_fine,
    data_fidelity,
    deconvolve,
    face_basis,
    kernel_of_known_image,
    profile,
)
from course_lib.metrics import align, kernel_similarity, psnr
from course_lib.models import load_pretrained
from course_lib.operators import (
    Blur,
    BlurEach,
    airy_kernel,
    defocus_kernel,
    gaussian_kernel,
    motion_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like

CHAPTER = "14_blind_deconvolution"
SIGMA = 0.01  # standard deviation of the noise in every blurred image, unless stated
LEVEL = 0.02  # noise level of the denoiser
KERNELS: dict[int, dict[str, Callable[[int], Tensor]]] = {
    # side of the kernels -> family -> kernel; the larger ones are for images of 64 x 64
    9: {
        "gaussian": lambda side: gaussian_kernel(1.3, side),
        "motion": lambda side: motion_kernel(6.0, 0.6, side),
        "airy": lambda side: airy_kernel(2.5, side),
        "defocus": lambda side: defocus_kernel(2.0, side),
    },
    13: {
        "gaussian": lambda side: gaussian_kernel(1.8, side),
        "motion": lambda side: motion_kernel(9.0, 0.6, side),
        "airy": lambda side: airy_kernel(3.5, side),
        "defocus": lambda side: defocus_kernel(3.0, side),
    },
}
FAMILIES = tuple(KERNELS[9])
FAST = Alternation(ImageStep(), KernelStep(momentum=True), n_inner=1, n_kernel=3, restart=None)
# By the side of the kernels. Images of 64 x 64 have four times as many pixels and kernels of
# 13 x 13 twice as many taps: the data term is larger by as much, its Hessian worse conditioned.
# The stages were chosen on pairs that no table shows: validation images, photographs 25 to 48.
TURNS = {9: 60, 13: 120}
STEPS = {9: FAST, 13: replace(FAST, n_kernel=10)}
RIDGES = {9: 0.3, 13: 1.0}  # where one is used throughout
STAGES = {
    9: (*(Stage(s, 0.6, 10) for s in (0.05, 0.03, LEVEL)), Stage(LEVEL, 0.0, 30)),
    13: (
        *(Stage(s, 3.0, 8) for s in (0.06, 0.045, 0.035, 0.026, LEVEL)),
        Stage(LEVEL, 2.0, 20),
        Stage(LEVEL, 1.0, 20),
    ),
}
STAGE_STEPS = {9: FAST, 13: replace(FAST, n_kernel=5)}
GAIN, SIMILARITY = 3.0, 0.85  # a pair with both, or more, is counted as a success
TV_EPS = 0.01
TV_WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3)  # sigma^2 lam, of which the best on other images is taken
TV_TURNS, TV_STEPS = 100, replace(FAST, n_inner=3)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images, the kernels that blurred them, and what was measured."""

    x: Float[Tensor, "b c h w"]
    kernel: Float[Tensor, "b 1 k l"]
    y: Float[Tensor, "b c h w"]


def score(pairs: Pairs, found: BlindSolution) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """PSNR (dB) and similarity of kernels, both up to a translation."""
    return psnr(align(found.x, pairs.x), pairs.x), kernel_similarity(found.kernel, pairs.kernel)


def blurred_pairs(
    world: str, n: int, side: int = 9, *, split: str = "test", sigma: float = SIGMA
) -> Pairs:
    """n images of a world, each blurred by one of the families in turn.

    Args:
        world: name of the world.
        n: number of images.
        side: side of the kernels, 9 for images of 32 x 32 pixels and 13 for 64 x 64.
        split: name of the split.
        sigma: standard deviation of the noise.
    """
    images = load_world(world, split, n, progress=False)
    x = (Halved(images) if side == 9 else images)[torch.arange(n)]
    families = torch.cat([kernel(side) for kernel in KERNELS[side].values()])
    kernel = families[torch.arange(n) % len(families)]
    y = BlurEach(kernel, tuple(x.shape[1:])).A(x)
    return Pairs(x, kernel, y + sigma * normal_like(y, generator_from(11)))


@experiment(CHAPTER)
def portraits(budget: str) -> list[Result]:
    """The table of the chapter, on portraits of 32 x 32."""
    return table("portraits", {"smoke": 4, "class": 8, "full": 24}[budget], 9, budget)


@experiment(CHAPTER)
def plates(budget: str) -> list[Result]:
    """The same on plates."""
    return table("plates", {"smoke": 4, "class": 8, "full": 24}[budget], 9, budget)


@experiment(CHAPTER)
def photos(budget: str) -> list[Result]:
    """The same on photographs of 64 x 64, with kernels of 13 x 13."""
    return table("photos", {"smoke": 4, "class": 4, "full": 24}[budget], 13, budget)


def table(world: str, n: int, side: int, budget: str) -> list[Result]:
    """Every method on the same pairs."""
    denoiser, pairs = load_pretrained(f"diffusion_{world}32"), blurred_pairs(world, n, side)
    data = f"{world}, {pairs.x.shape[-1]} x {pairs.x.shape[-1]}, {n} pairs, noise {SIGMA}"
    q = DenoiserPotential(denoiser, LEVEL)
    known = deconvolve(q, pairs.y, pairs.kernel, sigma=SIGMA, max_iter=50)
    kernels = kernel_of_known_image(pairs.x, pairs.y, side, ridge=RIDGES[side])
    before, bound = psnr(pairs.y, pairs.x), psnr(known.x, pairs.x)
    values = {
        "psnr_blurred": (before, "dB", 0.05),
        "psnr_known": (bound, "dB", 0.3),
        "gains_known": (bound - before >= GAIN, "", 0.1),
        "similarity_known": (kernel_similarity(kernels, pairs.kernel), "", 0.03),
    }
    results = means(values, f"{{}}_{world}", data, n, 11)
    for name, found in solutions(world, denoiser, pairs, side, budget).items():
        db, similarity = score(pairs, found)
        gain, good = db - before, similarity >= SIMILARITY
        values = {
            "psnr": (db, "dB", 0.5),
            "gain": (gain, "dB", 0.5),
            "gain_least": (gain.amin(), "dB", None),
            "similarity": (similarity, "", 0.03),
            "similarity_least": (similarity.amin(), "", None),
            "gains": (gain >= GAIN, "", 0.15),
            "similar": (good, "", 0.15),
            "succeeds": ((gain >= GAIN) & good, "", 0.15),
            "centre": (found.kernel[:, 0, side // 2, side // 2], "", 0.05),
        }
        results += means(values, f"{{}}_{name}_{world}", data, n, 11)
        if name == "stages":
            for i, family in enumerate(FAMILIES):
                values = {
                    "gain": (gain[i::4], "dB", 0.8),
                    "similarity": (similarity[i::4], "", 0.8),
                }
                results += means(values, f"{{}}_{family}_{world}", data, n // 4, 11)
    return results


def solutions(
    world: str, denoiser: Denoiser, pairs: Pairs, side: int, budget: str
) -> dict[str, BlindSolution]:
    """Solutions of each blind method, for the same measurements."""
    smoke = budget == "smoke"
    plain = Stage(LEVEL, n_outer=5 if smoke else TURNS[side])
    as_it_is = {"sigma": SIGMA, "alternation": STEPS[side], "stage": plain}
    run = as_it_is | {"stage": replace(plain, kernel_ridge=RIDGES[side])}
    return {
        "stages": in_stages(denoiser, pairs.y, side, budget=budget),
        "wide": blind_deconvolution(denoiser, pairs.y, side, **run),
        "no_ridge": blind_deconvolution(denoiser, pairs.y, side, **as_it_is),
        "flat": blind_deconvolution(denoiser, pairs.y, side, "flat", **run),
        "narrow": blind_deconvolution(denoiser, pairs.y, side, "narrow", **as_it_is),
        "narrow_stages": in_stages(denoiser, pairs.y, side, "narrow", budget=budget),
        "tv": alternate_tv(*tuned_tv(world, side, smoke), pairs, side, smoke),
        "lucy": blind_richardson_lucy(
            pairs.y.clamp(min=0), side, **tuned_richardson_lucy(world, side)
        ),
    }


def in_stages(
    denoiser: Denoiser,
    y: Float[Tensor, "b c h w"],
    side: int,
    init: str = "wide",
    *,
    budget: str,
) -> BlindSolution:
    """From coarse to fine, with the stages for kernels of this side."""
    stages = scaled(STAGES[side], {"n_outer": 0.1}) if budget == "smoke" else STAGES[side]
    return coarse_to_fine(
        denoiser, y, side, stages, init, sigma=SIGMA, alternation=STAGE_STEPS[side]
    )


def alternate_tv(
    q: SmoothedTV, ridge: float, pairs: Pairs, side: int, smoke: bool
) -> BlindSolution:
    """From a wide start, until total variation and data fidelity are at rest."""
    stage = Stage(kernel_ridge=ridge, n_outer=5 if smoke else TV_TURNS)
    return blind_deconvolution(q, pairs.y, side, sigma=SIGMA, stage=stage, alternation=TV_STEPS)


def tuned_tv(world: str, side: int, smoke: bool) -> tuple[SmoothedTV, float]:
    """The weight and the ridge with the best images, on eight other pairs."""
    pairs = tuning_pairs(world, side)
    candidates = [
        (SmoothedTV(weight / SIGMA**2, TV_EPS), ridge)
        for weight in TV_WEIGHTS
        for ridge in (0.0, RIDGES[side])
    ]
    return max(
        candidates,
        key=lambda c: mean(score(pairs, alternate_tv(*c, pairs, side, smoke))[0]),
    )


def tuned_richardson_lucy(world: str, side: int) -> dict[str, int]:
    """When to stop blind Richardson-Lucy for the best images, on eight other pairs."""
    pairs = tuning_pairs(world, side)
    y = pairs.y.clamp(min=0)
    return max(
        ({"n_outer": n, "n_inner": m} for n in (1, 3, 10, 30) for m in (1, 3, 10)),
        key=lambda options: mean(score(pairs, blind_richardson_lucy(y, side, **options))[0]),
    )


def tuning_pairs(world: str, side: int) -> Pairs:
    """Eight pairs that no table shows: photographs have a test split only, of which the last."""
    if world != "photos":
        return blurred_pairs(world, 8, side, split="validation")
    pairs = blurred_pairs(world, 32, side)
    return Pairs(pairs.x[24:], pairs.kernel[24:], pairs.y[24:])


@experiment(CHAPTER)
def mixture(budget: str) -> list[Result]:
    """Photographs by a mixture that knows its images, with the true ones among them or not."""
    n = {"smoke": 4, "class": 4, "full": 24}[budget]
    pairs, results = blurred_pairs("photos", n, 13), []
    photos = load_world("photos", "test", 96, progress=False)[torch.arange(96)]
    for name, centres in (("by_heart", photos), ("strangers", photos[n:])):
        found = in_stages(EmpiricalMixture(centres), pairs.y, 13, budget=budget)
        db, similarity = score(pairs, found)
        data = f"photos, 64 x 64, {n} pairs, mixture of {len(centres)}"
        gain = db - psnr(pairs.y, pairs.x)
        values = {
            "gain": (gain, "dB", 0.5),
            "gain_least": (gain.amin(), "dB", None),
            "similarity": (similarity, "", 0.03),
        }
        results += means(values, f"{{}}_{name}", data, n, 11)
    return results


@experiment(CHAPTER)
def speed(budget: str) -> list[Result]:
    """The published iteration and the fast one: objectives, and evaluations of the denoiser."""
    n, outer = {"smoke": (2, 4), "class": (4, 60), "full": (4, 300)}[budget]
    denoiser, pairs = load_pretrained("diffusion_portraits32"), blurred_pairs("portraits", n)
    data = f"portraits, 32 x 32, {n} pairs, noise {SIGMA}"
    results = []
    runs = {
        "published": (outer, Alternation()),
        "fast": (60, FAST),
        "fast_long": (200, FAST),
    }
    for name, (n_outer, steps) in runs.items():
        stage = Stage(LEVEL, n_outer=n_outer)
        found = blind_deconvolution(
            denoiser, pairs.y, 9, sigma=SIGMA, stage=stage, alternation=steps
        )
        db, similarity = score(pairs, found)
        values = {
            "objective": (objective(denoiser, pairs, found), "", None),
            "psnr": (db, "dB", 0.5),
            "similarity": (similarity, "", 0.03),
            "evaluations": (found.evaluations, "", 0.0),
        }
        results += means(values, f"{{}}_{name}", data, n, 11)
    return results


def objective(denoiser: Denoiser, pairs: Pairs, found: BlindSolution) -> Float[Tensor, " b"]:
    """F in units of sigma^2, with q from the probability flow and the same probes for all."""
    probes = rademacher(tuple(pairs.x.shape[1:]), 4, generator=generator_from(12))
    q = potential(denoiser, found.x, 8, Hutchinson(probes), sigma_min=LEVEL)
    fit = data_fidelity(BlurEach(found.kernel, tuple(pairs.x.shape[1:])), found.x, pairs.y)
    return fit / SIGMA**2 + q


THROUGH = replace(FAST, kernel_step=KernelStep("through_projection", momentum=True))
VARIANTS: dict[str, tuple[dict[str, float], Alternation]] = {
    # name -> by what the numbers of the stages are multiplied, and the steps
    "stages": ({}, FAST),
    "ridge_0": ({"kernel_ridge": 0.0}, FAST),
    "ridge_third": ({"kernel_ridge": 1 / 3}, FAST),
    "ridge_3": ({"kernel_ridge": 3.0}, FAST),
    "level_half": ({"denoiser_sigma": 0.5}, FAST),
    "level_2": ({"denoiser_sigma": 2.0}, FAST),
    "level_4": ({"denoiser_sigma": 4.0}, FAST),
    "outer_half": ({"n_outer": 0.5}, FAST),
    "outer_3": ({"n_outer": 3.0}, FAST),
    "inner_3": ({"n_outer": 1 / 3}, replace(FAST, n_inner=3)),
    "kernel_steps_1": ({}, replace(FAST, n_kernel=1)),
    "kernel_steps_10": ({}, replace(FAST, n_kernel=10)),
    "restart_10": ({}, replace(FAST, restart=10)),
    "through_projection": ({}, THROUGH),
}


@experiment(CHAPTER)
def sensitivity(budget: str) -> list[Result]:
    """One choice changed at a time: noise, size of the kernel, and the settings."""
    n = {"smoke": 4, "class": 4, "full": 8}[budget]
    denoiser, results = load_pretrained("diffusion_portraits32"), []
    pairs, stages = blurred_pairs("portraits", n), STAGES[9]
    if budget == "smoke":
        stages = scaled(stages, {"n_outer": 0.1})
    cases = {
        name: (pairs, 9, SIGMA, scaled(stages, factors), steps)
        for name, (factors, steps) in VARIANTS.items()
    }
    cases["one_stage"] = pairs, 9, SIGMA, (Stage(LEVEL, RIDGES[9], 60),), FAST
    for sigma in (0.005, 0.02, 0.05):
        noisy = blurred_pairs("portraits", n, sigma=sigma)
        cases[f"noise_{sigma:g}"] = noisy, 9, sigma, stages, FAST
    for side in (7, 13, 17, 21):
        cases[f"side_{side}"] = pairs, side, SIGMA, stages, FAST
    data = f"portraits, 32 x 32, {n} pairs"
    for name, (problem, side, sigma, chosen, steps) in cases.items():
        found = coarse_to_fine(denoiser, problem.y, side, chosen, sigma=sigma, alternation=steps)
        db, similarity = score(problem, found)
        gain = db - psnr(problem.y, problem.x)
        values = {"gain": (gain, "dB", 0.5), "similarity": (similarity, "", 0.03)}
        results += means(values, f"{{}}_{name}", data, n, 11)
    return results


def scaled(stages: tuple[Stage, ...], factors: dict[str, float]) -> tuple[Stage, ...]:
    """Stages whose numbers are multiplied; a number of iterations stays one."""

    def change(stage: Stage) -> Stage:
        numbers = {name: factor * getattr(stage, name) for name, factor in factors.items()}
        if "n_outer" in numbers:
            numbers["n_outer"] = max(1, round(numbers["n_outer"]))
        return replace(stage, **numbers)

    return tuple(map(change, stages))


@experiment(CHAPTER)
def stability(budget: str) -> list[Result]:
    """The least eigenvalue of the Hessian where the algorithm ends: a strict minimum or not."""
    n, outer = {"smoke": (1, 2), "class": (1, 200), "full": (2, 200)}[budget]
    denoiser, pairs = load_pretrained("diffusion_portraits32"), blurred_pairs("portraits", n)
    q, data, results = DenoiserPotential(denoiser, LEVEL), f"{n} portraits, 32 x 32", []
    for name, init, ridge in (
        ("stages", "wide", 0.0),
        ("wide", "wide", RIDGES[9]),
        ("no_ridge", "wide", 0.0),
        ("narrow", "narrow", 0.0),
    ):
        before = STAGES[9][:-1] if name == "stages" else ()
        stages = (*before, Stage(LEVEL, ridge, outer))
        found = coarse_to_fine(denoiser, pairs.y, 9, stages, init, sigma=SIGMA, alternation=FAST)
        curvature = KernelObjective(found.x, pairs.y, (9, 9), ridge).lipschitz
        least = []
        for i in range(n):
            basis = face_basis(found.kernel[i : i + 1], 1e-6) / curvature[i].sqrt()
            at = found.x[i : i + 1], found.kernel[i : i + 1], pairs.y[i : i + 1]
            hessian = JointHessian(q, *at, SIGMA, basis, ridge)
            least.append(hessian.smallest(1, rtol=0.1)[0].item() / SIGMA**2)
        unit = "sigma^2, the smallest of the pairs, taps in units of 1 / sqrt(L)"
        taps = (found.kernel > 1e-6).double().sum((1, 2, 3))
        values = {"eigenvalue": (min(least), unit, None), "taps": (taps, "taps above 0", None)}
        results += means(values, f"{{}}_{name}", data, n, 11)
    return results


THETAS = tuple(0.2 * k for k in range(14))
TRUE_THETA = 1.2


@experiment(CHAPTER)
def profiles(budget: str) -> list[Result]:
    """min over x of F along Gaussian kernels, for total variation and for the denoiser."""
    n, thetas = {"smoke": (1, THETAS[:3]), "class": (2, THETAS), "full": (4, THETAS)}[budget]
    y = profile_measurements(n)
    data = f"portraits, 32 x 32, blurred by a Gaussian of {TRUE_THETA} pixels, noise {SIGMA}"
    results = []
    for name, q in profile_priors().items():
        curve = blur_profile(q, y, thetas)
        rows = zip(thetas[1:], curve[1:], strict=True)
        values = {f"{theta:.1f}": (change, "nats", None) for theta, change in rows}
        results += means(values, f"profile_{name}_{{}}", data, n, 13)
    return results


def profile_measurements(n: int) -> Float[Tensor, "n 1 32 32"]:
    """Portraits under a Gaussian blur of TRUE_THETA."""
    x = Halved(load_world("portraits", "test", n, progress=False))[torch.arange(n)]
    y = Blur(gaussian_kernel(TRUE_THETA, 21), (1, 32, 32)).A(x)
    return y + SIGMA * normal_like(y, generator_from(13))


def profile_priors() -> dict[str, ImagePotential]:
    """Total variation, and the denoiser's own potential."""
    return {
        "tv": SmoothedTV(1e-3 / SIGMA**2, TV_EPS),
        "denoiser": DenoiserPotential(load_pretrained("diffusion_portraits32"), LEVEL),
    }


def blur_profile(q: ImagePotential, y: Tensor, thetas: tuple[float, ...]) -> Float[Tensor, "t b"]:
    """phi(theta) - phi(theta_0) in units of sigma^2, for Gaussian kernels of 21 x 21."""
    found = profile(
        q, y, lambda theta: gaussian_kernel(theta, 21), thetas, sigma=SIGMA, max_iter=60
    )
    return found.change / SIGMA**2


@experiment(CHAPTER, cheap=True)
def theorem(_budget: str) -> list[Result]:
    """Theorem 1 on a signal: eigenvalues, predicted slopes, and those that the algorithm has."""
    prior, level, x, kernel, y = favourable_signal()
    q, sigma = DenoiserPotential(prior, level), 0.05
    hessian = JointHessian(q, x, kernel, y, sigma)
    eps = normal_like(y, generator_from(8))
    dx, dh = hessian.response(eps)
    values = {
        "least_eigenvalue": (hessian.smallest(1, rtol=1e-8)[0], "", 1e-4),
        "slope_image": (dx.norm() / eps.norm(), "", 1e-4),
        "slope_kernel": (dh.norm() / eps.norm(), "", 1e-4),
    }
    options = {
        "sigma": sigma,
        "stage": Stage(n_outer=200),
        "alternation": replace(FAST, n_kernel=5),
    }
    for size in (1e-2, 1e-3, 1e-4):
        found = blind_deconvolution(q, y + size * eps, (1, 5), kernel, **options)
        step = size * eps.norm()
        values[f"measured_image_{size:g}"] = (found.x - x).norm() / step, "", 1e-3
        values[f"measured_kernel_{size:g}"] = (found.kernel - kernel).norm() / step, "", 1e-3
    return means(values, "{}", "a signal of 24 samples, a mixture of three Gaussians", 1, 8)
