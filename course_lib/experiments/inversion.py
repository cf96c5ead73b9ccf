"""Numbers of chapter 7: generators inverted, few measurements, and what is hallucinated."""

import math

import torch
from joblib import Parallel, delayed
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.exact import label_posterior
from course_lib.inference import Starts, map_z
from course_lib.inference.classical import tuned_baselines
from course_lib.inference.latent import LatentGenerator, LatentSolution
from course_lib.metrics import psnr
from course_lib.models import load_pretrained, read_card
from course_lib.operators import (
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    LinearOperator,
    bicubic_kernel,
    wrap_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import LBFGS

CHAPTER = "07_inversion"
IMG_SIZE = (1, 64, 64)
SIGMA = 0.02  # of every measurement in this chapter, unless it says otherwise
MEASUREMENTS = (10, 50, 100, 250, 500, 1000, 2000)
GENERATORS = {
    world: {
        "gan": f"gan_{world}64",
        "compact": f"vae_{world}64_compact",
        "conv": f"vae_{world}64",
    }
    for world in ("plates", "portraits")
}
WEIGHTS = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
READING_NOISE = 0.1
PROBES = 987_654_321  # a seed that no operator has: probes equal to its rows would resound
STARTS = {"gan": 2, "compact": 2, "conv": 1}


@experiment(CHAPTER, cheap=True)
def generators(budget: str) -> list[Result]:
    """Figures of the released GANs, from their cards; the tolerance is that of a new training."""
    results = []
    for name in ("plates64", "portraits64", "portraits64_colour", "plates64_conditional"):
        card = read_card(f"gan_{name}")
        seed = card["seed"]
        results += [
            Result(f"{key}_{name}", f["value"], f["unit"], None, f["data"], f["n"], seed)
            for key, f in card["figures"].items()
        ]
        results.append(
            Result(f"minutes_{name}", card["minutes"], "min", None, card["machine"], 1, seed)
        )
    return results


@experiment(CHAPTER)
def inversion(budget: str) -> list[Result]:
    """Held-out images found again in the range of each generator, from one start and from four."""
    n, starts, steps = {"smoke": (2, 2, 5), "class": (8, 4, 60), "full": (16, 4, 80)}[budget]
    results = []
    for world, models in GENERATORS.items():
        x = load_world(world, "test", n, progress=False)[:n]
        for kind, name in models.items():
            model = load_pretrained(name)
            found = invert(model, Denoising(IMG_SIZE), x, restarts=starts, steps=steps)
            with torch.no_grad():
                first = model.decode(found.all_z[:, 0]).mean
            objective = found.all_objective
            data, label = f"held-out {world}", f"{kind}_{world}"
            results += [
                Result(f"inverted_{label}", _mean(psnr(found.x, x)), "dB", 0.3, data, n, 0),
                Result(f"inverted_once_{label}", _mean(psnr(first, x)), "dB", 0.5, data, n, 0),
                Result(
                    f"spread_{label}",
                    (objective.amax(1) / objective.amin(1)).median().item(),
                    "worst over best objective",
                    None,
                    f"{data}, {starts} starts",
                    n,
                    0,
                ),
            ]
    return results


@experiment(CHAPTER)
def compressed_sensing(budget: str) -> list[Result]:
    """PSNR against the number of Gaussian measurements, with 95% intervals over the images."""
    n, counts = {
        "smoke": (2, (100,)),
        "class": (8, (50, 100, 500)),
        "full": (32, MEASUREMENTS),
    }[budget]
    steps = 5 if budget == "smoke" else 60
    problems = [(world, m) for m in reversed(counts) for world in GENERATORS]  # long ones first
    found = Parallel(n_jobs=-1)(delayed(_sense)(*problem, n, steps) for problem in problems)
    return [result for results in found for result in results]


def _sense(world: str, m: int, n: int, steps: int) -> list[Result]:
    """All methods on n images of a world."""
    torch.set_num_threads(1)
    models = GENERATORS[world]
    x = load_world(world, "test", n, progress=False)[:n]
    tuning = load_world(world, "validation", n // 2, progress=False)[:]
    op = gaussian_rows(m)
    y = op(x, generator=generator_from(1))
    tuning_y = op(tuning, generator=generator_from(2))
    baselines = tuned_baselines(op, y, tuning_y, tuning, sigma=SIGMA)
    estimates = {name: baseline.x for name, baseline in baselines.items()}
    for kind, name in models.items():
        model = load_pretrained(name)
        found = invert(model, op, y, restarts=STARTS[kind], steps=steps, std=deviation(name))
        estimates[kind] = found.x
    scores = {method: psnr(estimate, x) for method, estimate in estimates.items()}
    best = max(baselines, key=lambda name: scores[name].mean())
    results, data = [], f"held-out {world}, m = {m}"
    for method, values in scores.items():
        label = f"{method}_{world}_{m}"
        results += [
            Result(f"cs_{label}", _mean(values), "dB", 0.5, data, n, 1),
            Result(f"cs_half_{label}", _half_width(values), "dB", None, data, n, 1),
        ]
        if method in models:
            gain, words = values - scores[best], f"{data}, over {best}"
            results += [
                Result(f"cs_gain_{label}", _mean(gain), "dB", 0.7, words, n, 1),
                Result(f"cs_gain_half_{label}", _half_width(gain), "dB", None, words, n, 1),
            ]
    return results


@experiment(CHAPTER)
def wrong_world(budget: str) -> list[Result]:
    """Portraits from the generators of plates, and the other way round, at 250 measurements."""
    n, steps = {"smoke": (2, 5), "class": (8, 100), "full": (32, 100)}[budget]
    op, results = gaussian_rows(250), []
    for world in GENERATORS:
        x = load_world(world, "test", n, progress=False)[:n]
        y = op(x, generator=generator_from(1))
        for trained, models in GENERATORS.items():
            name = models["compact"]
            model = load_pretrained(name)
            found = invert(model, op, y, restarts=1, steps=steps, std=deviation(name))
            misfit = ((op.A(found.x) - y).square().mean(1).sqrt() / SIGMA).median().item()
            data = f"held-out {world}, compact VAE of {trained}, m = 250"
            label = f"{world}_by_{trained}"
            results += [
                Result(f"wrong_{label}", _mean(psnr(found.x, x)), "dB", 0.5, data, n, 1),
                Result(f"wrong_misfit_{label}", misfit, "sigma", None, data, n, 1),
            ]
    return results


@experiment(CHAPTER)
def latent_weights(budget: str) -> list[Result]:
    """PSNR at 50 measurements for weights of |z|^2 around Bayes' own, 1."""
    n, steps = {"smoke": (2, 5), "class": (8, 80), "full": (32, 100)}[budget]
    x = load_world("plates", "test", n, progress=False)[:n]
    name = GENERATORS["plates"]["compact"]
    op, model, std = gaussian_rows(50), load_pretrained(name), deviation(name)
    y, results = op(x, generator=generator_from(1)), []
    for weight in WEIGHTS:
        found = invert(model, op, y, restarts=1, steps=steps, std=std, weight=weight)
        data = "held-out plates, m = 50, compact VAE"
        results.append(Result(f"weight_{weight:g}", _mean(psnr(found.x, x)), "dB", 0.5, data, n, 1))
    return results


@experiment(CHAPTER)
def restricted_eigenvalues(budget: str) -> list[Result]:
    """Least and largest |A (x - x')| / |x - x'| over pairs of images that a generator draws."""
    n = {"smoke": 10, "class": 100, "full": 300}[budget]
    model, results = load_pretrained("gan_plates64"), []
    with torch.no_grad():
        x = model.sample(n, generator=generator_from(0))
    for m in MEASUREMENTS:
        low, high = restricted_range(gaussian_rows(m), x)
        data = f"pairs of {n} samples of the GAN of plates, m = {m}"
        results += [
            Result(f"srec_low_{m}", low, "", 0.05, data, n * (n - 1) // 2, 0),
            Result(f"srec_high_{m}", high, "", 0.1, data, n * (n - 1) // 2, 0),
        ]
    return results


@experiment(CHAPTER)
def reading(budget: str) -> list[Result]:
    """What is read in restorations of plates at x16, noise 0.1, against the true posterior."""
    n, pool, steps = {
        "smoke": (4, 200, 5),
        "class": (24, 8000, 80),
        "full": (100, 64_000, 100),
    }[budget]
    test = load_world("plates", "test", n, progress=False)
    x, truth = test[:n], test.labels[:n]
    op = camera(IMG_SIZE, 16, READING_NOISE)
    y = op(x, generator=generator_from(1))
    draws = load_world("plates", "train", pool, progress=False)
    brute = label_posterior(op, y, draws, draws.labels, sigma=READING_NOISE, classes=36)
    data = "held-out plates, x16, noise 0.1"
    effective = brute.effective_draws.median().item()
    results = [
        Result("effective_draws", effective, f"of {pool}", None, f"{data}, median", n, 1),
        *_reading_results("bayes", brute.probabilities, brute.probabilities, truth, data),
    ]
    reader = load_pretrained("classifier_plates")
    with torch.no_grad():
        learned = reader(y, READING_NOISE).exp()
    results += _reading_results("reader", learned, brute.probabilities, truth, data)
    for kind in ("gan", "compact"):
        name = GENERATORS["plates"][kind]
        model = load_pretrained(name)
        found = invert(
            model,
            op,
            y,
            restarts=STARTS[kind],
            steps=steps,
            std=deviation(name),
            sigma=READING_NOISE,
        )
        with torch.no_grad():
            read = reader(found.x).exp()
        results += _reading_results(kind, read, brute.probabilities, truth, data)
    return results


def _reading_results(
    name: str, read: Tensor, posterior: Tensor, truth: Tensor, data: str
) -> list[Result]:
    """How sure a reading is, how often it is right, and what the posterior gives it."""
    confidence, character = read.max(1)
    right = (character == truth).float()
    granted = posterior.gather(1, character[:, None])[:, 0]
    n = len(truth)
    return [
        Result(f"reading_sure_{name}", _mean(confidence), "", 0.05, data, n, 1),
        Result(f"reading_right_{name}", _mean(right), "", 0.05, data, n, 1),
        Result(f"reading_granted_{name}", _mean(granted), "", 0.05, data, n, 1),
    ]


def restricted_range(op: LinearOperator, x: Tensor) -> tuple[float, float]:
    """The extremes of |A (x_i - x_j)| / |x_i - x_j| over all pairs of images (n, C, H, W)."""
    ratios = torch.pdist(op.A(x).flatten(1)) / torch.pdist(x.flatten(1))
    return ratios.min().item(), ratios.max().item()


def gaussian_rows(m: int) -> CompressedSensing:
    """m rows with entries N(0, 1 / m), and noise of standard deviation SIGMA."""
    return CompressedSensing(m, IMG_SIZE, generator_from(m), noise_model=GaussianNoise(SIGMA))


def camera(img_size: tuple[int, int, int], factor: int, sigma: float = 0.0) -> Downsampling:
    """1 / factor of the resolution, with the bicubic prefilter."""
    noise = GaussianNoise(sigma) if sigma else None
    kernel = wrap_kernel(bicubic_kernel(factor), img_size[-2:])
    return Downsampling(img_size, factor, kernel=kernel, noise_model=noise)


def deviation(name: str) -> float:
    """s, how far held-out images lie from the range of a released generator: from its card."""
    figures = read_card(name)["figures"]
    return 10 ** (-figures.get("inversion", figures.get("reconstruction"))["value"] / 20)


def effective_noise(op: LinearOperator, sigma: float, std: float) -> float:
    """The noise that z has to bear with: y - A G(z) = A (x - G(z)) + noise, per measurement.

    If x - G(z) is white with standard deviation s, the covariance is sigma^2 I + s^2 A A^T, whose
    mean diagonal is sigma^2 + s^2 |A|_F^2 / m. With N(0, I) draws e, |A|_F^2 = E |A e|^2.
    """
    e = normal_like(torch.empty(64, *op.img_size), generator_from(PROBES))
    return math.sqrt(sigma**2 + std**2 * op.A(e).square().mean().item())


def invert(
    model: LatentGenerator,
    op: LinearOperator,
    y: Tensor,
    *,
    restarts: int,
    steps: int,
    std: float = 0.0,
    sigma: float = SIGMA,
    weight: float = 1.0,
) -> LatentSolution:
    """map_z from draws of the prior, with the noise of the sensor and of the model together."""
    return map_z(
        model,
        op,
        y,
        sigma=effective_noise(op, sigma, std),
        latent_weight=weight,
        starts=Starts(restarts, "prior"),
        optimiser=LBFGS(max_iter=steps),
        generator=generator_from(3),
    )


def _half_width(values: Tensor) -> float:
    """Of a 95% interval for the mean, from the spread over images."""
    return 1.96 * values.std().item() / math.sqrt(len(values))


def _mean(values: Tensor) -> float:
    return values.mean().item()
