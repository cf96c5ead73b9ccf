"""Numbers of chapter 8: networks fitted to one image, and generators that bend."""

import math

import torch
from torch import Tensor

from course_lib.data import load_photo, load_photos
from course_lib.data.worlds import load_world
from course_lib.experiments.inversion import camera
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference import (
    NetworkDescent,
    Sweeps,
    VarianceRule,
    deep_generative_prior,
    deep_image_prior,
    fit_singan,
    impedance,
    map_xz,
    singan_enlarge,
)
from course_lib.metrics import psnr
from course_lib.models import SinGAN, load_pretrained
from course_lib.operators import (
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    Luminance,
    bicubic_kernel,
    wrap_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import accelerated_gradient

CHAPTER = "08_untrained_priors"
PHOTOS = ("camera", "astronaut", "coffee", "chelsea", "rocket")
TV_WEIGHTS = tuple(10 ** (k / 2) for k in range(-8, 1))  # 1e-4 to 1
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
    return [
        Result(f"impedance_{name}", value, "dB of the variance", None, data, n, 0)
        for name, value in zip(("image", "noisy", "shuffled", "noise"), left.tolist(), strict=True)
    ]


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
    values = {
        "noisy": y,
        "tv": total_variation(op, y, photos),
        "rule": fit.x,
        "oracle": fit.oracle.x,
        "last": fit.x_last,
    }
    data = f"{n} photographs, {size} x {size}, noise 25/255"
    return [
        *(
            Result(f"denoise_{name}", psnr(x, photos).mean().item(), "dB", 0.5, data, n, 1)
            for name, x in values.items()
        ),
        Result("denoise_step", fit.step.double().mean().item(), "steps", None, data, n, 1),
        Result("oracle_step", fit.oracle.step.double().mean().item(), "steps", None, data, n, 1),
    ]


@experiment(CHAPTER)
def super_resolution(budget: str) -> list[Result]:
    """The table of the source on our photographs: x4 and x8, one number a photograph."""
    n, size = {"smoke": (1, 64), "class": (2, 64), "full": (5, 96)}[budget]
    photos = load_photos(PHOTOS[:n], size).images
    results = []
    for factor in (4, 8):
        op = camera(tuple(photos.shape[1:]), factor)
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
            "bicubic": bicubic(y, size),
            "tv": total_variation(op, y, photos),
            "dip": fit.x,
            "dip_oracle": fit.oracle.x,
        }
        for method, x in estimates.items():
            values = psnr(x, photos)
            data = f"photographs, {size} x {size}, x{factor}"
            results += [
                Result(f"x{factor}_{method}_{name}", value, "dB", 0.5, data, 1, 0)
                for name, value in zip(PHOTOS, values.tolist(), strict=False)
            ]
            mean = values.mean().item()
            results.append(Result(f"x{factor}_{method}_mean", mean, "dB", 0.3, data, n, 0))
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
    estimates = {"tv": total_variation(op, y, photos), "dip": fit.x}
    return [
        Result(f"half_{name}", psnr(x, photos).mean().item(), "dB", 0.5, data, n, 2)
        for name, x in estimates.items()
    ]


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
                op, y, descent=NetworkDescent(STEPS[budget] // 2), generator=generator_from(0)
            )
            estimates = {
                "tv": total_variation(op, y, x),
                "dip": untrained.x,
                "latent": bent.x_latent_only,
                "dgp": bent.x,
                "xz": map_xz(load_pretrained(f"vae_{world}64"), op, y, sweeps=Sweeps(30)).x,
            }
            data = f"held-out {world}, {task}, noise {DGP_NOISE}"
            results += [
                Result(
                    f"bend_{name}_{task}_{world}",
                    psnr(estimate, x).mean().item(),
                    "dB",
                    0.5,
                    data,
                    n,
                    1,
                )
                for name, estimate in estimates.items()
            ]
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
    data, results = "held-out portraits in colour", []
    for name, estimate in estimates.items():
        whole, grey = psnr(estimate, x), psnr(op.A(estimate), y).clamp(max=100)
        results += [
            Result(f"colour_{name}", whole.mean().item(), "dB", 0.5, data, n, None),
            Result(f"colour_fit_{name}", grey.mean().item(), "dB", None, data, n, None),
        ]
    return results


@experiment(CHAPTER)
def one_photograph(budget: str) -> list[Result]:
    """SinGAN trained on a small photograph, then asked to enlarge it twice."""
    scales, steps = {"smoke": (2, 5), "class": (4, 100), "full": (5, 200)}[budget]
    op, results = camera((1, 128, 128), 2), []
    for name in (SINGAN_PHOTO, "camera"):
        photo = load_photo(name, 128)
        small = op.A(photo).clamp(0, 1)
        model = train_singan(small, scales=scales, steps=steps)
        enlarged = singan_enlarge(model, small, 2, passes=1)
        values = {
            "reconstruction": psnr(model.reconstruct(), small),
            "bicubic": psnr(bicubic(small, 128), photo),
            "enlarged": psnr(enlarged, photo),
            "consistency": psnr(op.A(enlarged), small),
        }
        data = f"{name}, 64 x 64 to 128 x 128"
        results += [
            Result(f"singan_{key}_{name}", value.item(), "dB", 1.0, data, 1, 0)
            for key, value in values.items()
        ]
    return results


def train_singan(image: Tensor, *, scales: int = 5, steps: int = 200) -> SinGAN:
    """With the settings of the chapter."""
    return fit_singan(image, scales=scales, steps=steps, generator=generator_from(0))


def bicubic(y: Tensor, size: int) -> Tensor:
    """Cubic interpolation of samples at (s i, s j), the grid of `Downsampling`, periodic."""
    factor = size // y.shape[-1]
    kernel = factor**2 * wrap_kernel(bicubic_kernel(factor), (size, size))
    return Downsampling((y.shape[1], size, size), factor, kernel=kernel).A_adjoint(y)


def bending_tasks() -> dict[str, LinearOperator]:
    """A hole of 24 x 24, and x4."""
    mask = torch.ones(1, 64, 64)
    mask[:, 20:44, 20:44] = 0
    noise = GaussianNoise(DGP_NOISE)
    return {
        "hole": Inpainting(mask, noise_model=noise),
        "x4": camera((1, 64, 64), 4, DGP_NOISE),
    }


def total_variation(op: LinearOperator, y: Tensor, truth: Tensor) -> Tensor:
    """Smoothed TV with the weight that is best for each image: it looks at the truth."""
    start = op.A_dagger(y)
    best = torch.full_like(psnr(start, truth), -math.inf)
    chosen = start
    fit = LeastSquares(op, y)
    for lam in reversed(TV_WEIGHTS):
        start = accelerated_gradient(
            fit + SmoothedTV(lam, eps=0.005), start, max_iter=400, rtol=1e-5
        ).x
        quality = psnr(start, truth)
        chosen = torch.where((quality > best).view(-1, 1, 1, 1), start, chosen)
        best = torch.maximum(quality, best)
    return chosen
