"""Numbers of chapter 7: generators inverted, few measurements, and what is hallucinated."""

import torch
from joblib import Parallel, delayed
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.exact import label_posterior
from course_lib.experiments.shared import (
    Found,
    figures_from_card,
    means,
    perceptual,
    scores,
    scores_in_hole,
    with_intervals,
)
from course_lib.inference import Starts, Sweeps, map_xz, map_z
from course_lib.inference.classical import tuned_baselines
from course_lib.inference.latent import LatentGenerator, LatentSolution, effective_noise
from course_lib.metrics import mean_half_width, psnr
from course_lib.models import load_pretrained, residual_std
from course_lib.operators import (
    CompressedSensing,
    Denoising,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    bicubic_downsampling,
    central_hole,
    restricted_singular_values,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS

CHAPTER = "07_inversion"
IMG_SIZE = (1, 64, 64)
HOLE = 24
SIGMA = 0.02  # standard deviation of the noise of every measurement, unless stated
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
STARTS = {"gan": 2, "compact": 2, "conv": 1}


@experiment(CHAPTER, cheap=True)
def generators(_budget: str) -> list[Result]:
    """Figures of the released GANs, from their cards; the tolerance is that of a new training."""
    names = ("plates64", "portraits64", "portraits64_colour", "plates64_conditional")
    return [result for name in names for result in figures_from_card(f"gan_{name}", name)]


@experiment(CHAPTER)
def inversion(budget: str) -> list[Result]:
    """Held-out images found again in the range of each generator, from one start and from four."""
    n, starts, steps = {"smoke": (2, 2, 5), "class": (8, 4, 60), "full": (32, 4, 80)}[budget]
    results = []
    for world, models in GENERATORS.items():
        x = load_world(world, "test", n, progress=False)[:n]
        for kind, name in models.items():
            model = load_pretrained(name)
            found = invert(model, Denoising(IMG_SIZE), x, restarts=starts, steps=steps)
            with torch.no_grad():
                first = model.decode(found.all_z[:, 0]).mean
            ends = found.all_objective
            values: dict[str, Found] = {
                "inverted": (psnr(found.x, x), "dB", 0.3),
                "inverted_once": (psnr(first, x), "dB", 0.5),
                "gain_of_starts": (psnr(found.x, x) - psnr(first, x), "dB", None),
            }
            for key, measured in perceptual(found.x, x, budget, tolerance=0.02).items():
                values[f"inverted_{key}"] = measured
            values = with_intervals(values)
            values["spread"] = (ends.amax(1) / ends.amin(1)).median(), "worst over best", None
            data = f"held-out {world}, {starts} starts"
            results += means(values, f"{{}}_{kind}_{world}", data, n, 0)
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
        found = invert(model, op, y, restarts=STARTS[kind], steps=steps, std=residual_std(name))
        estimates[kind] = found.x
    scores = {method: psnr(estimate, x) for method, estimate in estimates.items()}
    best = max(baselines, key=lambda name: scores[name].mean())
    results, data = [], f"held-out {world}, m = {m}"
    for method, values in scores.items():
        found = {
            "cs": (values, "dB", 0.5),
            "cs_half": (mean_half_width(values), "dB", None),
        }
        results += means(found, f"{{}}_{method}_{world}_{m}", data, n, 1)
        if method in models:
            gain = values - scores[best]
            found = {
                "cs_gain": (gain, "dB", 0.7),
                "cs_gain_half": (mean_half_width(gain), "dB", None),
            }
            words = f"{data}, over {best}"
            results += means(found, f"{{}}_{method}_{world}_{m}", words, n, 1)
    return results


@experiment(CHAPTER)
def wrong_world(budget: str) -> list[Result]:
    """Portraits from the generators of plates, and the other way round, at 250 measurements.

    The residual is in units of the noise that the model of the right world expects, "flagged" the
    share of images whose residual in the wrong world is above nine in ten of the right one's.
    """
    n, steps = {"smoke": (2, 5), "class": (8, 100), "full": (32, 100)}[budget]
    op, results = gaussian_rows(250), []
    for world in GENERATORS:
        x = load_world(world, "test", n, progress=False)[:n]
        y = op(x, generator=generator_from(1))
        estimates, residual = {}, {}
        for trained, models in GENERATORS.items():
            name = models["compact"]
            std = residual_std(name)
            fit = invert(load_pretrained(name), op, y, restarts=1, steps=steps, std=std)
            expected = effective_noise(op, SIGMA, std)
            estimates[f"by_{trained}"] = fit.x
            residual[f"by_{trained}"] = (op.A(fit.x) - y).square().mean(1).sqrt() / expected
        right = f"by_{world}"
        found = scores(estimates, x, budget, over=right)
        for key, values in residual.items():
            found[f"residual_{key}"] = values.median(), "of the noise to bear", 0.1
        (wrong,) = residual.keys() - {right}
        flagged = residual[wrong] > residual[right].quantile(0.9)
        found["flagged"] = flagged, "of the images", 0.1
        data = f"held-out {world}, compact VAEs, m = 250"
        results += means(found, f"wrong_{{}}_{world}", data, n, 1)
    return results


@experiment(CHAPTER)
def latent_weights(budget: str) -> list[Result]:
    """PSNR at 50 measurements for weights of |z|^2 around Bayes' own, 1, and the loss to it."""
    n, steps = {"smoke": (2, 5), "class": (8, 80), "full": (32, 100)}[budget]
    x = load_world("plates", "test", n, progress=False)[:n]
    name = GENERATORS["plates"]["compact"]
    op, model, std = gaussian_rows(50), load_pretrained(name), residual_std(name)
    y, values = op(x, generator=generator_from(1)), {}
    for weight in WEIGHTS:
        found = invert(model, op, y, restarts=1, steps=steps, std=std, weight=weight)
        values[weight] = psnr(found.x, x)
    found = {}
    for weight, value in values.items():
        gain = value - values[1.0]
        found[f"{weight:g}"] = value, "dB", 0.5
        found[f"half_{weight:g}"] = mean_half_width(value), "dB", None
        found[f"gain_{weight:g}"] = gain, "dB", None
        found[f"gain_half_{weight:g}"] = mean_half_width(gain), "dB", None
    return means(found, "weight_{}", "held-out plates, m = 50, compact VAE", n, 1)


@experiment(CHAPTER)
def leaving_the_range(budget: str) -> list[Result]:
    """A hole, by the best image in the range of the compact VAE, and by the joint estimate."""
    n, iterations, sweeps = {"smoke": (2, 5, 2), "class": (4, 60, 20), "full": (32, 60, 20)}[budget]
    op, results = hole(), []
    for world, models in GENERATORS.items():
        x = load_world(world, "test", n, progress=False)[:n]
        y, vae = op(x, generator=generator_from(4)), load_pretrained(models["compact"])
        options = {"starts": Starts(1), "optimiser": LBFGS(iterations)}
        estimates = {
            "z": map_z(vae, op, y, sigma=SIGMA, **options).x,
            "xz": map_xz(vae, op, y, sigma=SIGMA, sweeps=Sweeps(sweeps)).x,
        }
        found = scores(estimates, x, budget, over="z")
        found |= scores_in_hole(estimates, x, op, over="z")
        found["better"] = psnr(estimates["xz"], x) > psnr(estimates["z"], x), "of the images", 0.05
        data = f"held-out {world}, a hole of {HOLE} x {HOLE}, noise {SIGMA}"
        results += means(found, f"joint_{{}}_{world}", data, n, 4)
    return results


@experiment(CHAPTER)
def restricted_eigenvalues(budget: str) -> list[Result]:
    """Least and largest |A (x - x')| / |x - x'| over pairs of images that a generator draws."""
    n = {"smoke": 10, "class": 100, "full": 300}[budget]
    model, results = load_pretrained("gan_plates64"), []
    with torch.no_grad():
        x = model.sample(n, generator=generator_from(0))
    for m in MEASUREMENTS:
        low, high = restricted_singular_values(gaussian_rows(m), x)
        values = {"srec_low": (low, "", 0.05), "srec_high": (high, "", 0.1)}
        data = f"pairs of {n} samples of the GAN of plates, m = {m}"
        results += means(values, f"{{}}_{m}", data, n * (n - 1) // 2, 0)
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
    op = bicubic_downsampling(IMG_SIZE, 16, GaussianNoise(READING_NOISE))
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
            std=residual_std(name),
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
    found = {
        "sure": (confidence, "", 0.05),
        "right": (character == truth, "", 0.05),
        "granted": (posterior.gather(1, character[:, None])[:, 0], "", 0.05),
    }
    return means(found, f"reading_{{}}_{name}", data, len(truth), 1)


def hole() -> Inpainting:
    """A square of HOLE x HOLE pixels in the middle that nobody saw, noise SIGMA elsewhere."""
    return central_hole(IMG_SIZE, HOLE, GaussianNoise(SIGMA))


def gaussian_rows(m: int) -> CompressedSensing:
    """m rows with entries N(0, 1 / m), and noise of standard deviation SIGMA."""
    return CompressedSensing(m, IMG_SIZE, generator_from(m), noise_model=GaussianNoise(SIGMA))


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
