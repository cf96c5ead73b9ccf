"""Numbers of chapter 11: structured decoders, variational Bayes, and how far to trust it."""

import math
from statistics import median
from time import perf_counter, process_time

import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor
from torch.distributions import MultivariateNormal

from course_lib.data.worlds import load_world
from course_lib.exact import LinearGaussian, matrix_of
from course_lib.experiments.inversion import IMG_SIZE, camera
from course_lib.inference.latent import LatentGenerator, MarginalPosterior, first_guess
from course_lib.inference.sampling.latent import sample_images, sample_latents
from course_lib.inference.vble import VARIANTS, VBLE, StochasticAdam, VariationalPosterior
from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.metrics import coverage_curve, interval_coverage, psnr, ssim
from course_lib.models import load_pretrained, read_card
from course_lib.operators import (
    Blur,
    CompressedSensing,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    gaussian_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like

CHAPTER = "11_variational_bayes"
WORLDS = ("portraits", "photos")
LEVELS = tuple(level / 10 for level in range(1, 10))
SAMPLES, STEPS = 100, 250


def problem(name: str, img_size: tuple[int, int, int] = IMG_SIZE) -> LinearOperator:
    """The problems of the source: "deblur", "deblur_fine", "x2" and "inpaint"."""
    if name == "x2":
        return camera(img_size, 2, 1 / 255)
    if name == "inpaint":
        order = torch.randperm(math.prod(img_size), generator=generator_from(11))
        mask = (order < len(order) // 2).float().view(img_size)  # half of the pixels, exactly
        return Inpainting(mask, GaussianNoise(1 / 255))
    sigma = {"deblur": 7.65, "deblur_fine": 2.55}[name] / 255
    return Blur(gaussian_kernel(1.0), img_size, GaussianNoise(sigma))


PROBLEMS = {
    "portraits": ("deblur", "deblur_fine", "x2", "inpaint"),
    "photos": ("deblur", "x2", "inpaint"),
}


@experiment(CHAPTER, cheap=True)
def decoders(budget: str) -> list[Result]:
    """-log p(x | z) of held-out images by the three decoders, from their cards."""
    results = []
    for world in WORLDS:
        structured = read_card(f"structured_vae_{world}64")
        diagonal = read_card(f"diagonal_vae_{world}64")["figures"]["nll"]
        figures = structured["figures"]
        for key, figure in (
            ("isotropic", figures["nll_isotropic"]),
            ("diagonal", diagonal),
            ("structured", figures["nll"]),
            ("gain", figures["gain"]),
        ):
            results.append(
                Result(
                    f"nll_{key}_{world}",
                    figure["value"],
                    figure["unit"],
                    None,
                    f"held-out {world}",
                    figure["n"],
                    structured["seed"],
                )
            )
    return results


@experiment(CHAPTER)
def table(budget: str) -> list[Result]:
    """The five settings on four problems and two worlds: error, coverage, and their ranking."""
    n, steps, chosen = {
        "smoke": (2, 3, {"photos": ("inpaint",)}),
        "class": (8, 100, dict.fromkeys(WORLDS, ("deblur", "inpaint"))),
        "full": (50, STEPS, PROBLEMS),
    }[budget]
    tasks = [(world, name, n, steps) for world, names in chosen.items() for name in names]
    found = Parallel(n_jobs=-1)(delayed(_compare)(*task) for task in tasks)
    return [result for results in found for result in results]


def _compare(world: str, name: str, n: int, steps: int) -> list[Result]:
    """All settings on n images of a world."""
    torch.set_num_threads(1)
    x, op = load_world(world, "test", n, progress=False)[:n], problem(name)
    y = op(x, generator=generator_from(1))
    model = load_pretrained(f"structured_vae_{world}64")
    decibels, results = {}, []

    def keep(variant: str, key: str, value: Tensor, unit: str, tolerance: float | None) -> None:
        label = f"{key_of(variant)}_{key}_{name}_{world}"
        data = f"held-out {world}, {name}, {variant}"
        results.append(Result(label, value.mean().item(), unit, tolerance, data, n, 1))

    for variant in VARIANTS:
        found = restore(variant, model, op, y, steps=steps)
        mean = found.moments(SAMPLES, generator_from(0)).mean
        decibels[variant] = psnr(mean, x)
        keep(variant, "psnr", decibels[variant], "dB", 0.1)
        keep(variant, "ssim", ssim(mean, x), "", 0.005)
        if variant == "MAP-z":
            continue
        samples = found.sample(SAMPLES, generator_from(3))
        keep(variant, "published_coverage", interval_coverage(samples, x), "", 0.02)
        curve = coverage_curve(samples, x, LEVELS, corrected=True)
        for level, row in zip(LEVELS, curve, strict=True):
            key = "coverage" if level == 0.9 else f"coverage{round(100 * level)}"
            keep(variant, key, row, "", 0.02)
    for variant in VARIANTS:
        gain = decibels["VBLE-xz"] - decibels[variant]
        if variant != "VBLE-xz":
            keep(variant, "gain", gain, "dB, of VBLE-xz over it", 0.1)
            keep(variant, "interval", 1.96 * gain.std() / math.sqrt(n), "dB, 95 %", None)
    return results


@experiment(CHAPTER)
def correlations(budget: str) -> list[Result]:
    """VBLE-xz on inpainting with a structured and with a diagonal decoder, seen pixels apart."""
    n, steps = {"smoke": (2, 3), "class": (8, 100), "full": (50, STEPS)}[budget]
    x, op = load_world("portraits", "test", n, progress=False)[:n], problem("inpaint")
    y, results = op(x, generator=generator_from(1)), []
    for kind in ("structured", "diagonal"):
        found = restore("VBLE-xz", load_pretrained(f"{kind}_vae_portraits64"), op, y, steps=steps)
        samples, data = found.sample(SAMPLES, generator_from(3)), f"held-out portraits, {kind} L"
        mean = found.moments(SAMPLES, generator_from(0)).mean
        gain = psnr(mean, x).mean().item()
        results.append(Result(f"{kind}_psnr", gain, "dB", 0.1, data, n, 1))
        for where, chosen in (("seen", op.mask.bool()), ("lost", ~op.mask.bool())):
            pixels = samples[..., chosen[0]].unsqueeze(3)  # (S, B, 1, 1, chosen)
            truth = x[..., chosen[0]].unsqueeze(2)
            covered = interval_coverage(pixels, truth, corrected=True).mean().item()
            deviation = 255 * pixels.std(0).mean().item()
            results += [
                Result(f"{kind}_covers_{where}", covered, "", 0.02, f"{data}, {where}", n, 1),
                Result(f"{kind}_deviation_{where}", deviation, "grey levels", 0.2, data, n, 1),
            ]
    return results


@experiment(CHAPTER)
def own_world(budget: str) -> list[Result]:
    """Coverage where the prior is the truth: images drawn from the structured VAE itself."""
    n, steps = {"smoke": (2, 3), "class": (8, 100), "full": (50, STEPS)}[budget]
    model, op = load_pretrained("structured_vae_portraits64"), problem("inpaint")
    with torch.no_grad():
        generator = generator_from(5)
        x = model.decode(model.prior(n, generator=generator)).sample(generator)
    y = op(x, generator=generator_from(1))
    results = []
    for variant in ("VBLE-z", "VBLE-xz"):
        found = restore(variant, model, op, y, steps=steps)
        coverage = found.coverage(x, SAMPLES, generator_from(0), corrected=True).mean().item()
        label = f"{key_of(variant)}_coverage_own"
        results.append(Result(label, coverage, "", 0.02, f"samples of the VAE, {variant}", n, 1))
    return results


@experiment(CHAPTER, cheap=True)
def linear(budget: str) -> list[Result]:
    """The best mean-field law beside the exact posterior, in the linear-Gaussian world."""
    results = []
    for name in LINEAR_PROBLEMS:
        world = linear_world(name)
        y = linear_measurements(world, 200)
        q, exact = world.mean_field(y), world.posterior(y)
        law, data = world.joint(q), f"linear-Gaussian world of 64 pixels, {name}"
        whiten = torch.cat([-world.L.T @ world.W, world.L.T], dim=1)  # of (z, x)
        of_white = (whiten @ exact.covariance @ whiten.T).diagonal()
        ratios = {
            "latents": q.a / exact.z.covariance.diagonal().sqrt(),
            "white": q.b / of_white.sqrt(),
            "pixels": (law.x.covariance.diagonal() / exact.x.covariance.diagonal()).sqrt(),
        }
        for key, ratio in ratios.items():
            ends = {"mean": ratio.mean(), "least": ratio.min(), "most": ratio.max()}
            results += [
                Result(f"{name}_{end}_{key}", value.item(), "", 1e-6, data, len(ratio), 0)
                for end, value in ends.items()
            ]
        covered = torch.erf(1.6448536 * ratios["pixels"] / math.sqrt(2)).mean().item()
        gap = (world.log_evidence(y) - world.elbo(y, q)).mean().item()
        bias = (law.x.mean - exact.x.mean).abs().max().item()
        results += [
            Result(f"{name}_covered", covered, "", 1e-6, data, 64, 0),
            Result(f"{name}_gap", gap, "nats", 1e-6, data, len(y), 0),
            Result(f"{name}_bias", bias, "", 1e-9, data, len(y), 0),
        ]
    return results


LINEAR_PROBLEMS = ("inpaint", "deblur", "sensing")


def linear_world(name: str) -> LinearGaussian:
    """A decoder of six smooth patterns on 8 x 8 pixels and banded noise, measured in three ways.

    "inpaint" sees half of the pixels, "deblur" has a Gaussian blur of deviation 1, "sensing" has
    32 Gaussian rows; the noise is 0.03.
    """
    size, generator = (1, 8, 8), generator_from(3)
    rough = torch.randn(7, *size, generator=generator, dtype=torch.float64)
    smooth = Blur(gaussian_kernel(1.5, 7, torch.float64), size).A(rough).flatten(1)
    smooth = smooth / smooth.std(1, keepdim=True)
    diagonal = torch.full((1, 1, 8, 8), 30.0, dtype=torch.float64)
    L = BandedCholesky(diagonal, torch.full((1, 4, 8, 8), -5.0, dtype=torch.float64), 1)
    order = torch.randperm(64, generator=generator)
    op = {
        "inpaint": Inpainting((order < 32).double().view(size)),
        "deblur": Blur(gaussian_kernel(1.0, 7, torch.float64), size),
        "sensing": CompressedSensing(32, size, generator_from(4), dtype=torch.float64),
    }[name]
    A = matrix_of(op)
    return LinearGaussian(0.1 * smooth[:6].T, 0.5 + 0.1 * smooth[6], L.dense()[0], A, 0.03)


def linear_measurements(world: LinearGaussian, n: int) -> Tensor:
    """n measurements (n, m) of images drawn from the world."""
    x = MultivariateNormal(world.prior.x.mean[0], world.prior.x.covariance)
    root, generator = torch.linalg.cholesky(x.covariance_matrix), generator_from(5)
    images = x.mean + normal_like(torch.empty(n, 64).double(), generator) @ root.T
    clean = images @ world.A.T
    return clean + world.sigma * normal_like(clean, generator)


@experiment(CHAPTER)
def sampling(budget: str) -> list[Result]:
    """Variational Bayes beside long runs of Hamiltonian Monte Carlo, on a VAE of 48 latents."""
    n, chains, draws, steps = {
        "smoke": (1, 2, 8, 3),
        "class": (2, 4, 40, 100),
        "full": (4, 4, 150, 500),
    }[budget]
    model = load_pretrained("vae_portraits64_compact")
    x, std, results = (
        load_world("portraits", "test", n, progress=False)[:n],
        float(model.noise_std),
        [],
    )
    for name in ("deblur", "inpaint"):
        op = problem(name)
        sigma, y = op.noise_model.sigma, op(x, generator=generator_from(1))
        start = process_time()
        with torch.no_grad():
            q = model.encode(first_guess(model, op, y, sigma=sigma))
        z0 = q.mean + q.stddev * normal_like(q.mean.expand(chains, -1, -1), generator_from(6))
        f = MarginalPosterior(model, op, y, sigma, std=std)
        exact = sample_latents(f, z0, n_samples=draws, warmup=draws, generator=generator_from(7))
        z = exact.thinned(min(SAMPLES, chains * draws))
        images = sample_images(model, op, y, z, sigma=sigma, std=std, generator=generator_from(8))
        seconds = {"hmc": process_time() - start}
        laws = {"hmc": (images, exact.samples.flatten(0, 1).std(0))}
        for variant in ("MAP-z", "VBLE-xz"):
            start = process_time()
            found = restore(variant, model, op, y, steps=steps)
            key = key_of(variant)
            seconds[key] = process_time() - start
            if variant != "MAP-z":
                laws[key] = (
                    found.sample(SAMPLES, generator_from(3)),
                    found.parameters["log_a"].exp(),
                )
        data = f"held-out portraits, {name}, VAE of 48 latents"
        for key, (samples, _) in laws.items():
            covered = interval_coverage(samples, x, corrected=len(samples) > 9)
            results += [
                Result(f"{key}_covers_{name}", covered.mean().item(), "", 0.02, data, n, 1),
                Result(
                    f"{key}_finds_{name}",
                    psnr(samples.mean(0), x).mean().item(),
                    "dB",
                    0.1,
                    data,
                    n,
                    1,
                ),
            ]
        results += [
            Result(f"{key}_seconds_{name}", value / n, "CPU s an image", None, data, n, 1)
            for key, value in seconds.items()
        ]
        of_z = (laws["xz"][1] / laws["hmc"][1]).mean().item()
        of_x = (laws["xz"][0].std(0) / laws["hmc"][0].std(0)).mean().item()
        worst = exact.r_hat.max().item()
        size = exact.effective_sample_size.min().item()
        results += [
            Result(f"latent_ratio_{name}", of_z, "", 0.03, data, n, 1),
            Result(f"pixel_ratio_{name}", of_x, "", 0.05, data, n, 1),
            Result(f"r_hat_{name}", worst, "largest", None, data, n, 1),
            Result(f"effective_{name}", size, "draws, least", None, data, n, 1),
        ]
    return results


@experiment(CHAPTER)
def cost(budget: str) -> list[Result]:
    """Time of one step beside that of MAP-z, and of a batch beside that of one image."""
    rounds, steps = {"smoke": (1, 1), "class": (3, 5), "full": (9, 8)}[budget]
    model, op = load_pretrained("structured_vae_portraits64"), problem("deblur")
    x = load_world("portraits", "test", 16, progress=False)[:16]
    y = op(x, generator=generator_from(1))
    runs = [(variant, n) for variant in ("MAP-z", "VBLE-z", "VBLE-xz") for n in (1, 16)]
    results, threads = [], torch.get_num_threads()
    for label, used in (("thread", 1), ("cores", cpu_count())):
        torch.set_num_threads(used)
        turns = {run: [] for run in runs}
        restore("VBLE-xz", model, op, y, steps=1)  # compiles the kernels
        for _ in range(rounds):
            for variant, n in runs:
                start = perf_counter()
                restore(variant, model, op, y[:n], steps=steps)
                turns[variant, n].append((perf_counter() - start) / steps)
        times = {run: median(values) for run, values in turns.items()}
        for n in (1, 16):
            ratio = times["VBLE-xz", n] / times["MAP-z", n]
            data = f"one step, {n} portraits, {used} threads"
            results.append(Result(f"step_ratio_{label}_{n}", ratio, "", None, data, n, 2))
        for variant in ("MAP-z", "VBLE-xz"):
            ratio, key = times[variant, 16] / times[variant, 1], key_of(variant)
            data = f"one step of {variant}, 16 portraits over one, {used} threads"
            results.append(Result(f"batch_ratio_{label}_{key}", ratio, "", None, data, 16, 2))
            milliseconds = 1e3 * times[variant, 1]
            results.append(Result(f"step_{label}_{key}", milliseconds, "ms", None, data, 1, 2))
    torch.set_num_threads(threads)
    return results


def key_of(variant: str) -> str:
    """ "VBLE-xz (nu = 0)" as a word: xz0."""
    return {"MAP-z": "map", "VBLE-z": "z", "VBLE-x": "x", "VBLE-xz": "xz"}.get(variant, "xz0")


def restore(
    variant: str, model: LatentGenerator, op: LinearOperator, y: Tensor, *, steps: int
) -> VariationalPosterior:
    """One setting with the step size of the chapter."""
    optimiser = StochasticAdam(n_steps=steps)
    return VBLE.variant(variant, model).fit(op, y, optimiser=optimiser, generator=generator_from(2))
