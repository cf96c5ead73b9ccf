"""Numbers of chapter 11: structured decoders, variational Bayes, and how far to trust it."""

import math
from statistics import median
from time import perf_counter, process_time

import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.exact import draw_measurements, pattern_world
from course_lib.experiments.hyperprior import (
    hyperprior_cards,
    hyperprior_own_world,
    hyperprior_table,
)
from course_lib.experiments.shared import Found, load_images, means, perceptual
from course_lib.experiments.vble_problems import CHAPTER, PHOTOGRAPHS, problem
from course_lib.inference.latent import LatentGenerator, MarginalPosterior, first_guess
from course_lib.inference.sampling.latent import sample_images, sample_latents
from course_lib.inference.vble import VARIANTS, VBLE, StochasticAdam, VariationalPosterior
from course_lib.metrics import coverage_curve, interval_coverage, mean_half_width, psnr, ssim
from course_lib.models import load_pretrained, read_card
from course_lib.operators import LinearOperator
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like

WORLDS = ("portraits", "photos")
LEVELS = tuple(level / 10 for level in range(1, 10))
SAMPLES = 100
N_STEPS = {"smoke": 3, "class": 100, "full": 250}
N_TABLE = {"portraits": 50, "photos": 50}  # images of the stored tables
PROBLEMS = {
    "portraits": ("deblur", "deblur_fine", "x2", "inpaint"),
    "photos": ("deblur", "x2", "inpaint"),
}


@experiment(CHAPTER, cheap=True)
def decoders(_budget: str) -> list[Result]:
    """-log p(x | z) of held-out images by the three decoders, from their cards."""
    results = []
    for world in WORLDS:
        card = read_card(f"structured_vae_{world}64")
        figures = {
            "isotropic": card["figures"]["nll_isotropic"],
            "diagonal": read_card(f"diagonal_vae_{world}64")["figures"]["nll"],
            "structured": card["figures"]["nll"],
            "gain": card["figures"]["gain"],
        }
        found = {key: (f["value"], f["unit"], None) for key, f in figures.items()}
        n = figures["structured"]["n"]
        results += means(found, f"nll_{{}}_{world}", f"held-out {world}", n, card["seed"])
    return results


@experiment(CHAPTER)
def portraits(budget: str) -> list[Result]:
    """The five settings on four problems: error, distance, coverage, and their ranking."""
    return _table("portraits", budget)


@experiment(CHAPTER, on_photographs=True)
def photographs(budget: str) -> list[Result]:
    """The same on photographs, and three problems."""
    return _table("photos", budget)


def _table(world: str, budget: str) -> list[Result]:
    n, names = {
        "smoke": (2, ("inpaint",)),
        "class": (8, ("deblur", "inpaint")),
        "full": (N_TABLE[world], PROBLEMS[world]),
    }[budget]
    found = Parallel(n_jobs=-1)(delayed(compare)(world, name, n, budget) for name in names)
    return [result for results in found for result in results]


def compare(world: str, name: str, n: int, budget: str) -> list[Result]:
    """All settings on one problem with n images of a world."""
    torch.set_num_threads(1)
    x, op = load_images(world, "test", n, budget)[:n], problem(name)
    y = op(x, generator=generator_from(1))
    model = load_pretrained(f"structured_vae_{world}64")
    scored: dict[str, dict[str, Found]] = {}
    for variant in VARIANTS:
        q = restore(variant, model, op, y, steps=N_STEPS[budget])
        mean = q.moments(SAMPLES, generator_from(0)).mean
        found = {"psnr": (psnr(mean, x), "dB", 0.1), "ssim": (ssim(mean, x), "", 0.005)}
        found |= perceptual(mean, x, budget)
        if variant != "MAP-z":
            samples = q.sample(SAMPLES, generator_from(3))
            found["published_coverage"] = interval_coverage(samples, x), "", 0.02
            curve = coverage_curve(samples, x, LEVELS, corrected=True)
            for level, row in zip(LEVELS, curve, strict=True):
                key = "coverage" if level == 0.9 else f"coverage{round(100 * level)}"
                found[key] = row, "", 0.02
                found[f"half_{key}"] = mean_half_width(row), "95 %", None
        scored[variant] = found
    results, best = [], scored["VBLE-xz"]
    for variant, found in scored.items():
        if variant != "VBLE-xz":
            gain = best["psnr"][0] - found["psnr"][0]
            found["gain"] = gain, "dB, of VBLE-xz over it", 0.1
            found["interval"] = mean_half_width(gain), "dB, 95 %", None
            if "lpips" in found:
                lead = found["lpips"][0] - best["lpips"][0]
                found["nearer"] = lead, "LPIPS, by which VBLE-xz is nearer", 0.005
                found["half_nearer"] = mean_half_width(lead), "LPIPS, 95 %", None
        data = f"{PHOTOGRAPHS if world == 'photos' else 'held-out portraits'}, {name}, {variant}"
        results += means(found, f"{key_of(variant)}_{{}}_{name}_{world}", data, n, 1)
    return results


@experiment(CHAPTER, on_photographs=True)
def hyperprior(budget: str) -> list[Result]:
    """Total variation, plug-and-play and VBLE-xz with and without a hyperprior."""
    return hyperprior_table(budget)


@experiment(CHAPTER)
def hyperprior_own(budget: str) -> list[Result]:
    """Coverage of VBLE-xz on images drawn from the VAE with a hyperprior."""
    return hyperprior_own_world(budget)


@experiment(CHAPTER, cheap=True)
def hyperpriors(_budget: str) -> list[Result]:
    """Reconstruction with and without a hyperprior, and its rates, from the cards."""
    return hyperprior_cards()


@experiment(CHAPTER)
def correlations(budget: str) -> list[Result]:
    """VBLE-xz on inpainting with a structured and with a diagonal decoder, seen pixels apart."""
    n, steps = {"smoke": (2, 3), "class": (8, 100), "full": (50, 250)}[budget]
    x, op = load_world("portraits", "test", n, progress=False)[:n], problem("inpaint")
    y, results, decibels = op(x, generator=generator_from(1)), [], {}
    for kind in ("structured", "diagonal"):
        found = restore("VBLE-xz", load_pretrained(f"{kind}_vae_portraits64"), op, y, steps=steps)
        samples, data = found.sample(SAMPLES, generator_from(3)), f"held-out portraits, {kind} L"
        mean = found.moments(SAMPLES, generator_from(0)).mean
        decibels[kind] = psnr(mean, x)
        values = {"psnr": (decibels[kind], "dB", 0.1)}
        for where, chosen in (("seen", op.mask.bool()), ("lost", ~op.mask.bool())):
            pixels = samples[..., chosen[0]].unsqueeze(3)  # (S, B, 1, 1, chosen)
            truth = x[..., chosen[0]].unsqueeze(2)
            covered = interval_coverage(pixels, truth, corrected=True)
            values[f"covers_{where}"] = covered, "", 0.02
            values[f"deviation_{where}"] = 255 * pixels.std(0), "grey levels", 0.2
        results += means(values, f"{kind}_{{}}", data, n, 1)
    gain = decibels["structured"] - decibels["diagonal"]
    values = {
        "gain": (gain, "dB, of structured L over diagonal L", 0.1),
        "gain_interval": (mean_half_width(gain), "dB, 95 %", None),
    }
    return results + means(values, "structured_{}", "held-out portraits, inpaint", n, 1)


@experiment(CHAPTER)
def own_world(budget: str) -> list[Result]:
    """Coverage where the prior is the truth: images drawn from the structured VAE itself."""
    n, steps = {"smoke": (2, 3), "class": (8, 100), "full": (50, 250)}[budget]
    model, op = load_pretrained("structured_vae_portraits64"), problem("inpaint")
    with torch.no_grad():
        generator = generator_from(5)
        x = model.decode(model.prior(n, generator=generator)).sample(generator)
    y = op(x, generator=generator_from(1))
    results = []
    for variant in ("VBLE-z", "VBLE-xz"):
        found = restore(variant, model, op, y, steps=steps)
        coverage = found.coverage(x, SAMPLES, generator_from(0), corrected=True)
        values = {
            "coverage_own": (coverage, "", 0.02),
            "half_coverage_own": (mean_half_width(coverage), "95 %", None),
        }
        data = f"samples of the VAE, {variant}"
        results += means(values, f"{key_of(variant)}_{{}}", data, n, 1)
    return results


@experiment(CHAPTER, cheap=True)
def linear(_budget: str) -> list[Result]:
    """The best mean-field posterior beside the exact one, in the linear-Gaussian world."""
    results = []
    for name in ("inpaint", "deblur", "sensing"):
        world = pattern_world(name)
        y = draw_measurements(world, 200, generator=generator_from(5))
        q, exact = world.mean_field(y), world.posterior(y)
        best, data = world.joint(q), f"linear-Gaussian world of 64 pixels, {name}"
        whiten = torch.cat([-world.L.T @ world.W, world.L.T], dim=1)  # from (z, x) to L^T (x - W z)
        of_whitened = (whiten @ exact.covariance @ whiten.T).diagonal()
        ratios = {
            "latents": q.a / exact.z.covariance.diagonal().sqrt(),
            "white": q.b / of_whitened.sqrt(),
            "pixels": (best.x.covariance.diagonal() / exact.x.covariance.diagonal()).sqrt(),
        }
        found = {
            "covered": (torch.erf(1.6448536 * ratios["pixels"] / math.sqrt(2)), "", 1e-6),
            "gap": (world.log_evidence(y) - world.elbo(y, q), "nats", 1e-6),
            "bias": ((best.x.mean - exact.x.mean).abs().max(), "", 1e-9),
        }
        for key, ratio in ratios.items():
            ends = {"mean": ratio.mean(), "least": ratio.min(), "most": ratio.max()}
            found |= {f"{end}_{key}": (value, "", 1e-6) for end, value in ends.items()}
        results += means(found, f"{name}_{{}}", data, len(y), 0)
    return results


LINEAR_PROBLEMS = ("inpaint", "deblur", "sensing")


@experiment(CHAPTER)
def sampling(budget: str) -> list[Result]:
    """Variational Bayes beside long runs of Hamiltonian Monte Carlo, on a VAE of 48 latents."""
    n, chains, draws, steps = {
        "smoke": (1, 2, 8, 3),
        "class": (2, 4, 40, 100),
        "full": (4, 4, 150, 500),
    }[budget]
    model = load_pretrained("vae_portraits64_compact")
    x = load_world("portraits", "test", n, progress=False)[:n]
    std, results = float(model.noise_std), []
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
        found = {"hmc": (images, exact.samples.flatten(0, 1).std(0))}  # samples, std of z
        for variant in ("MAP-z", "VBLE-xz"):
            start, key = process_time(), key_of(variant)
            q = restore(variant, model, op, y, steps=steps)
            seconds[key] = process_time() - start
            if variant != "MAP-z":
                found[key] = q.sample(SAMPLES, generator_from(3)), q.parameters["log_a"].exp()
        values = {f"{key}_seconds": (s / n, "CPU s an image", None) for key, s in seconds.items()}
        for key, (samples, _) in found.items():
            covered = interval_coverage(samples, x, corrected=len(samples) > 9)
            values[f"{key}_covers"] = covered, "", 0.02
            values[f"{key}_finds"] = psnr(samples.mean(0), x), "dB", 0.1
        values |= {
            "latent_ratio": (found["xz"][1] / found["hmc"][1], "", 0.03),
            "pixel_ratio": (found["xz"][0].std(0) / found["hmc"][0].std(0), "", 0.05),
            "r_hat": (exact.r_hat.max(), "largest", None),
            "effective": (exact.effective_sample_size.min(), "draws, least", None),
        }
        data = f"held-out portraits, {name}, VAE of 48 latents"
        results += means(values, f"{{}}_{name}", data, n, 1)
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
