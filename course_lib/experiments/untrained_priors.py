"""Numbers of chapter 8: networks fitted to one image, and generators that bend."""

from torch import Tensor

from course_lib.data import load_photo
from course_lib.data.worlds import load_world
from course_lib.experiments.shared import (
    Found,
    load_images,
    means,
    perceptual,
    scores,
    scores_in_hole,
)
from course_lib.inference import (
    AdversarialTraining,
    NetworkDescent,
    Pyramid,
    Sweeps,
    VarianceRule,
    deep_generative_prior,
    deep_image_prior,
    fit_singan,
    impedance,
    map_xz,
    singan_enlarge,
)
from course_lib.inference.classical import oracle_total_variation
from course_lib.inference.untrained import DeepImagePriorSolution
from course_lib.metrics import mean_half_width, psnr
from course_lib.models import load_pretrained
from course_lib.operators import (
    Denoising,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    Luminance,
    bicubic_downsampling,
    bicubic_upsampling,
    central_hole,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

CHAPTER = "08_untrained_priors"
NOISE = 25 / 255
RACE = 30  # steps, before a network of many weights has learnt small images by heart
STEPS = {"smoke": 40, "class": 400, "full": 1000}
IMAGES = {"smoke": 2, "class": 4, "full": 50}  # one network is fitted to each
FEWER = {"smoke": 2, "class": 4, "full": 12}
SIDE, HOLE = 64, 24
DGP_NOISE = 0.02
SINGAN_PHOTO = "coins"


@experiment(CHAPTER, on_photographs=True)
def resistance(budget: str) -> list[Result]:
    """What is left of four targets after the same number of steps."""
    photos, data = photographs(budget)
    found = impedance(photos, n_steps=RACE, generator=generator_from(0))
    left = 10 * (found.loss[-1] / found.targets.flatten(2).var(2)).log10()
    names = ("image", "noisy", "shuffled", "noise")
    values: dict[str, Found] = {}
    for name, value in zip(names, left, strict=True):
        values[name] = value, "dB of the variance", None
        values[f"{name}_half"] = mean_half_width(value), "dB of the variance", None
    values["ordered"] = (left.diff(dim=0) > 0)[:2].all(0), "share of the photographs", None
    return means(values, "impedance_{}", f"{data}, {RACE} steps", len(photos), 0)


@experiment(CHAPTER, on_photographs=True)
def denoising(budget: str) -> list[Result]:
    """The hump: noise of 25/255, by the variance rule, by the oracle, after all steps, and TV."""
    photos, data = photographs(budget)
    op = Denoising((1, SIDE, SIDE), noise_model=GaussianNoise(NOISE))
    y = op(photos, generator=generator_from(1))
    fit = untrained(op, y, photos, STEPS[budget])
    assert fit.oracle is not None  # the truth was given
    estimates = {
        "noisy": y,
        "tv": oracle_total_variation(op, y, photos),
        "rule": fit.x,
        "oracle": fit.oracle.x,
        "last": fit.x_last,
    }
    found = scores(estimates, photos, budget, over="tv")
    lost = psnr(fit.oracle.x, photos) - psnr(fit.x, photos)
    found["lost"] = lost, "dB", 0.3
    found["lost_half"] = mean_half_width(lost), "dB", None
    found["step_rule"] = fit.step, "steps", None
    found["step_oracle"] = fit.oracle.step, "steps", None
    return means(found, "denoise_{}", f"{data}, noise 25/255", len(photos), 1)


@experiment(CHAPTER, on_photographs=True)
def super_resolution(budget: str) -> list[Result]:
    """The table of Ulyanov et al. 2018 on other photographs, x4, without noise."""
    photos, data = photographs(budget)
    op = bicubic_downsampling((1, SIDE, SIDE), 4)
    y = op.A(photos)
    fit = untrained(op, y, photos, STEPS[budget])
    assert fit.oracle is not None  # the truth was given
    estimates = {
        "least_norm": op.A_dagger(y),
        "bicubic": bicubic_upsampling(y, 4),
        "tv": oracle_total_variation(op, y, photos),
        "dip": fit.x,
        "dip_oracle": fit.oracle.x,
    }
    found = scores(estimates, photos, budget, over="tv")
    above = psnr(estimates["least_norm"], photos) - psnr(estimates["bicubic"], photos)
    found["above"] = above, "dB", 0.3
    found["above_half"] = mean_half_width(above), "dB", None
    return means(found, "x4_{}", f"{data}, x4", len(photos), 0)


@experiment(CHAPTER)
def bending(budget: str) -> list[Result]:
    """Deep generative prior against its parts: latent alone, no training (DIP), TV."""
    pairs = [(world, task) for world in ("plates", "portraits") for task in bending_tasks()]
    return [result for pair in pairs for result in bent(*pair, budget)]


def bent(world: str, task: str, budget: str) -> list[Result]:
    """All methods on one task; in a hole also the PSNR of what nobody measured."""
    op = bending_tasks()[task]
    n = (IMAGES if isinstance(op, Inpainting) else FEWER)[budget]
    x = load_world(world, "test", n, progress=False)[:n]
    y = op(x, generator=generator_from(1))
    generator = load_pretrained(f"gan_{world}64")
    by_gan = deep_generative_prior(generator, op, y, generator=generator_from(0))
    descent = NetworkDescent(max(40, STEPS[budget] // 2))
    by_vae = map_xz(load_pretrained(f"vae_{world}64"), op, y, sweeps=Sweeps(20))
    estimates = {
        "tv": oracle_total_variation(op, y, x),
        "dip": deep_image_prior(op, y, descent=descent, generator=generator_from(0)).x,
        "latent": by_gan.x_latent_only,
        "dgp": by_gan.x,
        "xz": by_vae.x,
    }
    found = scores(estimates, x, budget, over="dgp")
    if isinstance(op, Inpainting):
        found |= scores_in_hole(estimates, x, op, over="dgp")
    data = f"held-out {world}, {task}, noise {DGP_NOISE}"
    return means(found, f"bend_{task}_{world}_{{}}", data, n, 1)


@experiment(CHAPTER)
def colourisation(budget: str) -> list[Result]:
    """Colours from grey: PSNR and LPIPS over all three channels, and PSNR of the grey again.

    "average" gives every pixel the mean difference between colour and grey of other portraits.
    """
    n = FEWER[budget]
    x = load_world("portraits_colour", "test", n, progress=False)[:n]
    others = load_world("portraits_colour", "validation", 4 * n, progress=False)[: 4 * n]
    op = Luminance((3, SIDE, SIDE))
    y = op.A(x)
    by_gan = deep_generative_prior(
        load_pretrained("gan_portraits64_colour"), op, y, generator=generator_from(0)
    )
    estimates = {
        "grey": y.expand_as(x),
        "average": y + (others - op.A(others)).mean(0),
        "latent": by_gan.x_latent_only,
        "dgp": by_gan.x,
    }
    found = scores(estimates, x, budget, over="grey")
    for name, u in estimates.items():
        found[f"fit_{name}"] = psnr(op.A(u), y).clamp(max=100), "dB", None
    return means(found, "colour_{}", "held-out portraits in colour", n, None)


@experiment(CHAPTER)
def one_photograph(budget: str) -> list[Result]:
    """SinGAN trained on a small photograph, then asked to enlarge it twice."""
    results = []
    for name in (SINGAN_PHOTO, "camera"):
        photo = load_photo(name, 128)
        estimates, consistency = enlarged_by_singan(photo, budget)
        found: dict[str, Found] = {"consistency": (consistency, "dB", 1.0)}
        for method, x in estimates.items():
            found[f"psnr_{method}"] = psnr(x, photo), "dB", 1.0
            seen = perceptual(x, photo, budget, tolerance=0.03)
            found |= {f"{key}_{method}": value for key, value in seen.items()}
        results += means(found, f"singan_{name}_{{}}", f"{name}, 64 x 64 to 128 x 128", 1, 0)
    return results


def enlarged_by_singan(photo: Tensor, budget: str) -> tuple[dict[str, Tensor], Tensor]:
    """A photograph shrunk to half, then enlarged by three methods; consistency of the last, dB."""
    scales, steps = {"smoke": (2, 5), "class": (4, 100), "full": (5, 200)}[budget]
    op = bicubic_downsampling((1, 128, 128), 2)
    small = op.A(photo).clamp(0, 1)
    model = fit_singan(
        small,
        pyramid=Pyramid(scales),
        training=AdversarialTraining(steps),
        generator=generator_from(0),
    )
    estimates = {
        "bicubic": bicubic_upsampling(small, 2),
        "least_norm": op.A_dagger(small),
        "enlarged": singan_enlarge(model, small, 2, passes=1),
    }
    return estimates, psnr(op.A(estimates["enlarged"]), small)


def photographs(budget: str) -> tuple[Tensor, str]:
    """Independent crops of 64 x 64, and the words that describe them in a result."""
    n = IMAGES[budget]
    kind = "BSDS500 test photographs, a crop of each" if budget == "full" else "photographs"
    return load_images("photos", "test", n, budget)[:n], f"{n} {kind}, {SIDE} x {SIDE}"


def untrained(op: LinearOperator, y: Tensor, truth: Tensor, steps: int) -> DeepImagePriorSolution:
    """A deep image prior that goes on after its stop, so that an oracle can choose too."""
    return deep_image_prior(
        op,
        y,
        descent=NetworkDescent(steps),
        stop=VarianceRule(keep_going=True),
        truth=truth,
        generator=generator_from(0),
    )


def bending_tasks() -> dict[str, LinearOperator]:
    """A hole of 24 x 24, and x4."""
    size, noise = (1, SIDE, SIDE), GaussianNoise(DGP_NOISE)
    return {"hole": central_hole(size, HOLE, noise), "x4": bicubic_downsampling(size, 4, noise)}
