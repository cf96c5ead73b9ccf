"""Numbers of chapter 8: networks fitted to one image, and generators that bend."""

import torch

from course_lib.data import load_photo, load_photos
from course_lib.data.worlds import load_world
from course_lib.experiments.shared import means
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
from course_lib.metrics import psnr
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
PHOTOS = ("camera", "astronaut", "coffee", "chelsea", "rocket")
NOISE = 25 / 255
RACE = 30  # steps, before a network of many weights has learnt small images by heart
STEPS = {"smoke": 40, "class": 400, "full": 1000}
DGP_NOISE = 0.02
SINGAN_PHOTO = "coins"


@experiment(CHAPTER)
def resistance(budget: str) -> list[Result]:
    """What is left of four targets after the same number of steps."""
    n = {"smoke": 1, "class": 2, "full": 5}[budget]
    photos = load_photos(PHOTOS[:n], 64).images
    found = impedance(photos, n_steps=RACE, generator=generator_from(0))
    data = f"{n} photographs, 64 x 64, {RACE} steps"
    left = 10 * (found.loss[-1] / found.targets.flatten(2).var(2)).log10().mean(1)
    names = ("image", "noisy", "shuffled", "noise")
    found = {
        name: (value, "dB of the variance", None) for name, value in zip(names, left, strict=True)
    }
    return means(found, "impedance_{}", data, n, 0)


@experiment(CHAPTER)
def denoising(budget: str) -> list[Result]:
    """The hump: noise of 25/255, by the variance rule, by the oracle, after all steps, and TV."""
    n, size = {"smoke": (1, 32), "class": (2, 64), "full": (5, 96)}[budget]
    photos = load_photos(PHOTOS[:n], size).images
    op = Denoising(tuple(photos.shape[1:]), noise_model=GaussianNoise(NOISE))
    y = op(photos, generator=generator_from(1))
    fit = deep_image_prior(
        op,
        y,
        descent=NetworkDescent(STEPS[budget]),
        stop=VarianceRule(keep_going=True),
        truth=photos,
        generator=generator_from(0),
    )
    estimates = {
        "noisy": y,
        "tv": oracle_total_variation(op, y, photos),
        "rule": fit.x,
        "oracle": fit.oracle.x,
        "last": fit.x_last,
    }
    found = {f"denoise_{name}": (psnr(x, photos), "dB", 0.5) for name, x in estimates.items()}
    found["denoise_step"] = fit.step, "steps", None
    found["oracle_step"] = fit.oracle.step, "steps", None
    return means(found, "{}", f"{n} photographs, {size} x {size}, noise 25/255", n, 1)


@experiment(CHAPTER)
def super_resolution(budget: str) -> list[Result]:
    """The table of Ulyanov et al. 2018 on our photographs: x4 and x8, one number a photograph."""
    n, size = {"smoke": (1, 64), "class": (2, 64), "full": (5, 96)}[budget]
    photos = load_photos(PHOTOS[:n], size).images
    results = []
    for factor in (4, 8):
        op = bicubic_downsampling(tuple(photos.shape[1:]), factor)
        y = op.A(photos)
        fit = deep_image_prior(
            op,
            y,
            descent=NetworkDescent(STEPS[budget]),
            stop=VarianceRule(keep_going=True),
            truth=photos,
            generator=generator_from(0),
        )
        estimates = {
            "least_norm": op.A_dagger(y),
            "bicubic": bicubic_upsampling(y, factor),
            "tv": oracle_total_variation(op, y, photos),
            "dip": fit.x,
            "dip_oracle": fit.oracle.x,
        }
        for method, x in estimates.items():
            values = psnr(x, photos)
            data, name = f"photographs, {size} x {size}, x{factor}", f"x{factor}_{method}_{{}}"
            alone = {p: (v, "dB", 0.5) for p, v in zip(PHOTOS, values, strict=False)}
            results += means(alone, name, data, 1, 0)
            results += means({"mean": (values, "dB", 0.3)}, name, data, n, 0)
    return results


@experiment(CHAPTER)
def half_missing(budget: str) -> list[Result]:
    """Every second pixel lost at random, without noise."""
    n, size = {"smoke": (1, 32), "class": (2, 64), "full": (5, 96)}[budget]
    photos = load_photos(PHOTOS[:n], size).images
    mask = (torch.rand(1, size, size, generator=generator_from(2)) < 0.5).float()
    op = Inpainting(mask)
    y = op.A(photos)
    fit = deep_image_prior(
        op, y, descent=NetworkDescent(STEPS[budget]), stop=None, generator=generator_from(0)
    )
    data = f"{n} photographs, {size} x {size}, half of the pixels missing"
    estimates = {"tv": oracle_total_variation(op, y, photos), "dip": fit.x}
    found = {name: (psnr(x, photos), "dB", 0.5) for name, x in estimates.items()}
    return means(found, "half_{}", data, n, 2)


@experiment(CHAPTER)
def bending(budget: str) -> list[Result]:
    """Deep generative prior against its parts: latent alone, no training (DIP), TV."""
    n = {"smoke": 2, "class": 6, "full": 8}[budget]
    results = []
    for world in ("plates", "portraits"):
        x = load_world(world, "test", n, progress=False)[:n]
        for task, op in bending_tasks().items():
            y = op(x, generator=generator_from(1))
            bent = deep_generative_prior(
                load_pretrained(f"gan_{world}64"), op, y, generator=generator_from(0)
            )
            untrained = deep_image_prior(
                op,
                y,
                descent=NetworkDescent(max(40, STEPS[budget] // 2)),
                generator=generator_from(0),
            )
            estimates = {
                "tv": oracle_total_variation(op, y, x),
                "dip": untrained.x,
                "latent": bent.x_latent_only,
                "dgp": bent.x,
                "xz": map_xz(load_pretrained(f"vae_{world}64"), op, y, sweeps=Sweeps(30)).x,
            }
            found = {name: (psnr(u, x), "dB", 0.5) for name, u in estimates.items()}
            data = f"held-out {world}, {task}, noise {DGP_NOISE}"
            results += means(found, f"bend_{{}}_{task}_{world}", data, n, 1)
    return results


@experiment(CHAPTER)
def colourisation(budget: str) -> list[Result]:
    """Colours from grey: PSNR over all three channels, and of the grey that they make."""
    n = {"smoke": 2, "class": 6, "full": 8}[budget]
    x = load_world("portraits_colour", "test", n, progress=False)[:n]
    op = Luminance((3, 64, 64))
    y = op.A(x)
    bent = deep_generative_prior(
        load_pretrained("gan_portraits64_colour"), op, y, generator=generator_from(0)
    )
    estimates = {"grey": y.expand_as(x), "latent": bent.x_latent_only, "dgp": bent.x}
    found = {name: (psnr(u, x), "dB", 0.5) for name, u in estimates.items()}
    for name, u in estimates.items():
        found[f"fit_{name}"] = psnr(op.A(u), y).clamp(max=100), "dB", None
    return means(found, "colour_{}", "held-out portraits in colour", n, None)


@experiment(CHAPTER)
def one_photograph(budget: str) -> list[Result]:
    """SinGAN trained on a small photograph, then asked to enlarge it twice."""
    scales, steps = {"smoke": (2, 5), "class": (4, 100), "full": (5, 200)}[budget]
    op, results = bicubic_downsampling((1, 128, 128), 2), []
    for name in (SINGAN_PHOTO, "camera"):
        photo = load_photo(name, 128)
        small = op.A(photo).clamp(0, 1)
        model = fit_singan(
            small,
            pyramid=Pyramid(scales),
            training=AdversarialTraining(steps),
            generator=generator_from(0),
        )
        enlarged = singan_enlarge(model, small, 2, passes=1)
        values = {
            "reconstruction": psnr(model.reconstruct(), small),
            "bicubic": psnr(bicubic_upsampling(small, 2), photo),
            "enlarged": psnr(enlarged, photo),
            "consistency": psnr(op.A(enlarged), small),
        }
        found = {key: (value, "dB", 1.0) for key, value in values.items()}
        results += means(found, f"singan_{{}}_{name}", f"{name}, 64 x 64 to 128 x 128", 1, 0)
    return results


def bending_tasks() -> dict[str, LinearOperator]:
    """A hole of 24 x 24, and x4."""
    size, noise = (1, 64, 64), GaussianNoise(DGP_NOISE)
    return {"hole": central_hole(size, 24, noise), "x4": bicubic_downsampling(size, 4, noise)}
