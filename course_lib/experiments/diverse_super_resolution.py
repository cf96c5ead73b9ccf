"""Numbers of chapter 12: many images for one measurement, and whether they are the right ones."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.exact import label_posterior, matrix_of
from course_lib.exact.linear_hierarchy import (
    LinearMeasurementEncoder,
    aliased_hierarchy,
    aliasing_sensor,
)
from course_lib.experiments.shared import figures_from_card, means
from course_lib.inference import (
    consistency_projection,
    draw_images,
    expected_consistency,
    latent_ambiguity,
    latent_divergence,
    super_resolve,
)
from course_lib.inference.super_resolution import draw_latents
from course_lib.metrics import (
    average_pairwise_distance,
    calibration_bins,
    label_frequencies,
    lpips,
    lr_psnr,
    naturalness,
    psnr,
    ssim,
    total_variation_distance,
)
from course_lib.metrics.fetched import weights_path
from course_lib.models import load_pretrained, read_card
from course_lib.models.hvae import HVAE
from course_lib.models.reading import read_samples
from course_lib.operators import (
    GaussianNoise,
    LinearOperator,
    bicubic_downsampling,
    bicubic_upsampling,
    central_hole,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

CHAPTER = "12_diverse_super_resolution"
IMG_SIZE = (1, 64, 64)
HOLE = slice(20, 44)  # rows and columns of a lost square of 24 x 24
FACTORS = (4, 8, 16)
TEMPERATURES = (0.1, 0.8)  # as in the table of Prost et al. 2024
SWEEP = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SIZES = {"smoke": (2, 2), "class": (24, 4), "full": (128, 4)}  # images, samples for each
READING = {"x8": (8, 0.05), "x16": (16, 0.1)}  # factor, and noise, of plates to read
WORLDS = ("portraits", "plates")
EXACT = 150.0  # dB, where float32 ends: residuals of 2^-25, or none at all


@experiment(CHAPTER, cheap=True)
def priors(_budget: str) -> list[Result]:
    """Figures of the hierarchical and the flat VAEs, and of the encoders, from their cards."""
    results = []
    for world in WORLDS:
        names = {
            "hvae": f"hvae_{world}64",
            "flat": f"vae_{world}64_compact",
            "conv": f"vae_{world}64",
        }
        for kind, name in names.items():
            results += figures_from_card(name, f"{kind}_{world}", leave_out="noise_std")
            count = read_card(name)["parameters"]
            results.append(Result(f"parameters_{kind}_{world}", count, "", None, name, 1, None))
        elbo = {kind: read_card(name)["figures"]["elbo"]["value"] for kind, name in names.items()}
        found = {"gain": (elbo["hvae"] - elbo["flat"], "nats per dimension", None)}
        results += means(found, f"{{}}_{world}", f"held-out {world}", 512, None)
    encoders = [f"portraits64_x{s}" for s in FACTORS] + ["portraits64_hole"]
    for name in [*encoders, *(f"plates64_{key}" for key in READING)]:
        card = read_card(f"encoder_{name}")
        nats, n = card["figures"]["divergence"]["value"], card["figures"]["divergence"]["n"]
        found = {
            "minutes_encoder": (card["minutes"], "min", None),
            "divergence": (nats, "nats per image", None),
        }
        results += means(found, f"{{}}_{name}", "held-out images", n, card["seed"])
    return [*results, Result("images_divergence", n, "images", None, "held-out images", n, None)]


class Portraits(NamedTuple):
    """Held-out portraits, their measurement, and what draws images for it."""

    op: LinearOperator
    x: Tensor
    y: Tensor
    draw: dict[str, Callable[[int, float], Tensor]]  # (samples, temperature) to (S, B, C, H, W)


def portraits_at(factor: int, n: int) -> Portraits:
    """Super-resolution of n held-out portraits by the HVAE and by the flow."""
    op = bicubic_downsampling(IMG_SIZE, factor)
    x = load_world("portraits", "test", n, progress=False)[torch.arange(n)]
    y = op.A(x)
    hvae, encoder = (
        load_pretrained("hvae_portraits64"),
        load_pretrained(f"encoder_portraits64_x{factor}"),
    )
    flow = load_pretrained("flow_sr_portraits64")

    def by_hvae(samples: int, temperature: float) -> Tensor:
        parts = [
            super_resolve(
                hvae, encoder, part, samples, temperature, False, generator=generator_from(0)
            )
            for part in y.split(32)
        ]
        return torch.cat(parts, 1)

    def by_flow(samples: int, temperature: float) -> Tensor:
        generator = generator_from(0)
        with torch.no_grad():
            parts = [
                flow.sample(
                    part, samples, factor=factor, temperature=temperature, generator=generator
                )
                for part in y.split(32)
            ]
        return torch.cat(parts, 1)

    return Portraits(op, x, y, {"hvae": by_hvae, "flow": by_flow})


@experiment(CHAPTER)
def comparison(budget: str) -> list[Result]:
    """The table of Prost et al. 2024: fidelity, consistency, diversity, naturalness, by method."""
    n, samples = SIZES[budget]
    results = []
    for factor in FACTORS:
        problem = portraits_at(factor, n)
        regression = load_pretrained(f"srresnet_portraits64_x{factor}")
        with torch.no_grad():
            answers = {
                f"bicubic_x{factor}": bicubic_upsampling(problem.y, factor)[None],
                f"srresnet_x{factor}": regression(problem.y)[None],
            }
        for temperature in TEMPERATURES:
            for method, draw in problem.draw.items():
                answers[f"{method}_x{factor}_t{temperature:g}"] = draw(samples, temperature)
        for label, drawn in answers.items():
            projected = consistency_projection(problem.op, drawn, problem.y)
            before = scores(label, drawn, problem)
            results += before + scores(f"{label}_cons", projected, problem)
            results += [
                replace(found, name=f"lr_psnr_before_{label}_cons")
                for found in before
                if found.name == f"lr_psnr_{label}"
            ]
            results += projection_gains(label, drawn, projected, problem.x)
    x = problem.x
    truth = naturalness(x).mean().item()
    return [
        *results,
        Result("naturalness_truth", truth, "", 0.3, "held-out portraits", n, None),
        Result("images_compared", n, "images", 0.0, "held-out portraits", n, None),
    ]


def scores(label: str, drawn: Tensor, problem: Portraits) -> list[Result]:
    """Means over images for samples (S, B, C, H, W), of the first sample where one is enough."""
    x, first = problem.x, drawn[0]
    found = {
        "psnr": (psnr(first, x), "dB", 0.3),
        "ssim": (ssim(first, x), "", 0.02),
        "lr_psnr": (lr_psnr(first, problem.y, problem.op.A).clamp(max=EXACT), "dB", 0.5),
        "naturalness": (naturalness(first), "", 0.3),
    }
    if len(drawn) > 1:
        found["apd"] = 1e4 * average_pairwise_distance(drawn), "1e-4", 3.0
        found["psnr_mean"] = psnr(drawn.mean(0), x), "dB", 0.3
        if weights_path("alex").is_file():
            found["lpips_diversity"] = lpips(*drawn[:2].clamp(0, 1), net="alex"), "", 0.02
    data = f"held-out portraits, {len(drawn)} samples each"
    return means(found, f"{{}}_{label}", data, len(x), 0)


def projection_gains(label: str, drawn: Tensor, projected: Tensor, x: Tensor) -> list[Result]:
    """How much nearer the projection brings each sample, and how exact Pythagoras is."""
    before, after, moved = (
        difference.double().square().flatten(-3).sum(-1)
        for difference in (drawn - x, projected - x, projected - drawn)
    )
    gain = 10 * (before / after).log10()
    found = {
        "gain": (gain, "dB", 0.2),
        "least_gain": (gain.min(), "dB", None),
        "lost": (gain < 0, "of samples", 0.0),
        "pythagoras": (((after + moved - before).abs() / before).max(), "relative", None),
    }
    data = "all samples of held-out portraits"
    return means(found, f"{{}}_{label}", data, gain.numel(), 0)


@experiment(CHAPTER)
def sweep(budget: str) -> list[Result]:
    """Diversity, naturalness and fidelity of projected samples against the temperature."""
    n, samples = SIZES[budget]
    results = []
    for factor in FACTORS:
        problem = portraits_at(factor, min(n, 64))
        for temperature in SWEEP if budget != "smoke" else SWEEP[-1:]:
            drawn = problem.draw["hvae"](samples, temperature)
            drawn = consistency_projection(problem.op, drawn, problem.y)
            found = {
                "apd": (1e4 * average_pairwise_distance(drawn), "1e-4", 3.0),
                "naturalness": (naturalness(drawn[0]), "", 0.3),
                "psnr": (psnr(drawn[0], problem.x), "dB", 0.3),
            }
            name = f"sweep_{{}}_x{factor}_{temperature:g}"
            data = f"held-out portraits, {samples} samples each, projected"
            results += means(found, name, data, len(problem.x), 0)
    return results


@experiment(CHAPTER)
def ambiguity(budget: str) -> list[Result]:
    """U_k against k for each factor, and C_E of the encoders beside the U_k of their k."""
    n, _ = SIZES[budget]
    results = []
    hvae = load_pretrained("hvae_portraits64")
    x = load_world("portraits", "test", n, progress=False)[torch.arange(n)]
    latents = hvae.encode(x, generator=generator_from(1)).latents
    data = "held-out portraits, grey levels of 255"
    ends = last_groups(hvae)
    for factor in FACTORS:
        op = bicubic_downsampling(IMG_SIZE, factor)
        for k in (0, *ends):
            spread = latent_ambiguity(hvae, op, latents[:k], generator=generator_from(2), n=n)
            results.append(
                Result(f"u_x{factor}_{k}", 255 * spread.item(), "grey levels", 0.5, data, n, 2)
            )
        encoder = load_pretrained(f"encoder_portraits64_x{factor}")
        y = op.A(x)
        told = draw_latents(hvae, encoder, y, generator=generator_from(0))
        drawn = draw_images(hvae, told, generator=generator_from(3))
        consistency = 255 * expected_consistency(op, drawn[None], y).item()
        at_k = latent_ambiguity(hvae, op, latents[: encoder.k], generator=generator_from(2), n=n)
        found = {
            "ce_over_u": (consistency / (255 * at_k.item()), "", 0.1),
            "ce": (consistency, "grey levels", 0.5),
            "k": (encoder.k, f"of {len(hvae.sides)}", 0.0),
        }
        results += means(found, f"{{}}_x{factor}", data, n, 3)
    return results


def last_groups(hvae: HVAE) -> list[int]:
    """Numbers k of groups worth a look: every other one at 1 x 1, and each finer one."""
    vector = hvae.groups_up_to(1)
    return [*range(2, vector + 1, 2), *range(vector + 1, len(hvae.sides) + 1)]


@experiment(CHAPTER, cheap=True)
def linear_world(_budget: str) -> list[Result]:
    """C_E and U_k where everything is Gaussian: for the optimal encoder and for an unsure one."""
    n = 4000
    hvae = aliased_hierarchy()
    op = aliasing_sensor()
    matrix = matrix_of(op)
    x = draw_images(hvae, [], generator=generator_from(1), n=n)
    y = op.A(x)
    data, results = "linear-Gaussian world, 8 x 8 to 4 x 4", []
    for k in (1, 2):
        told = hvae.encode(x, generator=generator_from(2)).latents[:k]
        spread = latent_ambiguity(hvae, op, told, generator=generator_from(3)).item()
        results.append(Result(f"linear_u_{k}", spread, "", 0.002, data, n, 3))
        for words, r in (("optimal", 1.0), ("unsure", 1.5)):
            encoder = LinearMeasurementEncoder(hvae, matrix, k)
            encoder.conditionals = [(gain, r * std) for gain, std in encoder.conditionals]
            drawn = draw_images(
                hvae,
                draw_latents(hvae, encoder, y, generator=generator_from(0)),
                generator=generator_from(4),
            )
            found = expected_consistency(op, drawn[None], y).item()
            nats = latent_divergence(hvae, encoder, x, y, generator=generator_from(5))
            values = {"ce": (found, "", 0.002), "kl": (nats.sum(1), "nats", 0.1)}
            results += means(values, f"linear_{{}}_{k}_{words}", data, n, 4)
    return results


@experiment(CHAPTER)
def shared_groups(budget: str) -> list[Result]:
    """Deviation of pixels among samples that share the first k groups of a held-out image."""
    n, samples = SIZES[budget]
    results = []
    for world in WORLDS:
        hvae = load_pretrained(f"hvae_{world}64")
        count = min(n, 32)
        x = load_world(world, "test", count, progress=False)[torch.arange(count)]
        latents = hvae.encode(x, generator=generator_from(1)).latents
        for k in (0, *last_groups(hvae)):
            drawn = share(hvae, latents[:k], count, samples)
            spread = drawn.std(0).flatten(1).square().mean(1).sqrt().mean().item()
            data = f"held-out {world}, {samples} samples each"
            results.append(Result(f"shared_{world}_{k}", spread, "", 0.01, data, count, 2))
    return results


@torch.no_grad()
def share(
    hvae: HVAE, latents: Sequence[Tensor], count: int, samples: int, temperature: float = 1.0
) -> Tensor:
    """Samples (S, B, C, H, W) that share given latents and nothing else."""
    repeated = [z.repeat(samples, 1, 1, 1) for z in latents]
    drawn = hvae.sample(samples * count, temperature, repeated, generator=generator_from(2))
    return drawn.unflatten(0, (samples, count))


class Reading(NamedTuple):
    """What is read on samples of plates, and what the measurement says."""

    frequencies: Tensor  # (B, 36), of the characters read on the samples
    confidence: Tensor  # (S, B), of the reader in them
    reader: Tensor  # (B, 36), p(character | y) by the reader
    brute: Tensor  # (B, 36), the same by brute force
    effective_draws: Tensor  # (B,), behind brute force
    truth: Tensor  # (B,), the true characters


def read_plates(key: str, n: int, samples: int, draws: int, temperature: float = 1.0) -> Reading:
    """Characters drawn for measurements of held-out plates, beside their posterior.

    Samples are read by the reader of chapter 6 at full resolution, where it errs in one plate of a
    hundred. The posterior is known in two ways: by brute force, which weighs `draws` plates of the
    training world by how well they explain y, and is worth what its effective number of draws is;
    and by the reader, trained to tell p(character | y) at this resolution and noise.
    """
    factor, sigma = READING[key]
    op = bicubic_downsampling(IMG_SIZE, factor, GaussianNoise(sigma))
    held_out = load_world("plates", "test", n, progress=False)
    x, truth = held_out[torch.arange(n)], held_out.labels[:n]
    y = op(x, generator=generator_from(1))
    hvae, encoder = load_pretrained("hvae_plates64"), load_pretrained(f"encoder_plates64_{key}")
    drawn = torch.cat(
        [
            super_resolve(
                hvae, encoder, part, samples, temperature, False, generator=generator_from(0)
            )
            for part in y.split(16)
        ],
        1,
    )
    read = read_samples(drawn.flatten(0, 1))
    world = load_world("plates", "train", draws, progress=False)
    brute = label_posterior(op, y, world, world.labels, sigma=sigma, classes=36)
    with torch.no_grad():
        reader = load_pretrained("classifier_plates")(y, sigma).exp()
    return Reading(
        label_frequencies(read.character.view(samples, n), 36),
        read.confidence.view(samples, n),
        reader.double(),
        brute.probabilities.double(),
        brute.effective_draws.double(),
        truth,
    )


@experiment(CHAPTER)
def reading(budget: str) -> list[Result]:
    """Drawn characters against their posterior: distance, accuracy, diversity, calibration."""
    n, samples, draws = {
        "smoke": (4, 4, 2000),
        "class": (32, 8, 16_000),
        "full": (128, 16, 64_000),
    }[budget]
    results = []
    for key in READING:
        found = read_plates(key, n, samples, draws)
        p, q, truth = found.frequencies, found.reader, found.truth
        drawn = torch.multinomial(q, samples, True, generator=generator_from(3))
        perfect = label_frequencies(drawn.T, 36)
        data = f"held-out plates, {key}, {samples} samples each"
        values = {
            "distance": (total_variation_distance(p, q), 0.05),
            "distance_perfect": (total_variation_distance(perfect, q), 0.05),
            "distance_brute": (total_variation_distance(p, found.brute), 0.05),
            "reader_brute": (total_variation_distance(q, found.brute), 0.05),
            "effective_draws": (found.effective_draws, None),
            "right": (p.gather(1, truth[:, None])[:, 0], 0.05),
            "posterior_right": (q.gather(1, truth[:, None])[:, 0], 0.05),
            "distinct": ((p > 0).double().sum(1), 0.5),
            "perfect_distinct": ((perfect > 0).double().sum(1), 0.5),
            "confident": ((found.confidence > 0.9).double().mean(0), 0.05),
        }
        found_means = {name: (v, "", tolerance) for name, (v, tolerance) in values.items()}
        results += means(found_means, f"read_{{}}_{key}", data, n, 1)
        for source, probabilities in (("drawn", p), ("reader", q)):
            bins = calibration_bins(probabilities, truth)
            for place, (stated, happened, count) in enumerate(bins):
                in_bin = {
                    "stated": (stated, "", 0.1),
                    "happened": (happened, "", 0.2),
                    "cases": (count, "cases", None),
                }
                results += means(in_bin, f"{{}}_{source}_{key}_{place}", data, count, 1)
    drawn = load_pretrained("hvae_plates64").sample(
        200 if budget == "smoke" else 2000, generator=generator_from(0)
    )
    read = read_samples(drawn)
    data = "samples of the prior at temperature 1"
    return [
        *results,
        Result("images_read", n, "images", 0.0, "held-out plates", n, None),
        Result("prior_readable", read.readable, "reader above 0.9", 0.05, data, len(drawn), 0),
        Result("prior_characters", read.characters, "of 36", 3.0, data, len(drawn), 0),
        readable_given_vector(64 if budget == "smoke" else 1000),
    ]


def readable_given_vector(n: int) -> Result:
    """As `prior_readable`, where the groups at 1 x 1 are those of held-out plates."""
    hvae = load_pretrained("hvae_plates64")
    x = load_world("plates", "test", n, progress=False)[torch.arange(n)]
    told = hvae.encode(x, generator=generator_from(1)).latents[: hvae.groups_up_to(1)]
    read = read_samples(hvae.sample(n, 1.0, told, generator=generator_from(2)))
    name, unit = "prior_readable_given_vector", "reader above 0.9"
    return Result(name, read.readable, unit, 0.05, "held-out plates", n, 2)


@experiment(CHAPTER)
def missing_square(budget: str) -> list[Result]:
    """The same machinery for a hole in the face."""
    n, samples = SIZES[budget]
    op = central_hole(IMG_SIZE, 24)
    x = load_world("portraits", "test", n, progress=False)[torch.arange(n)]
    y = op.A(x)
    hvae, encoder = load_pretrained("hvae_portraits64"), load_pretrained("encoder_portraits64_hole")
    parts = [
        super_resolve(hvae, encoder, part, samples, 0.8, op=op, generator=generator_from(0))
        for part in y.split(32)
    ]
    drawn = torch.cat(parts, 1)
    inside = (..., HOLE, HOLE)
    seen = op.A(torch.ones_like(x[:1])).sum()
    grey = (y.flatten(1).sum(1) / seen).view(-1, 1, 1, 1)  # y is zero inside
    data = f"held-out portraits, {samples} samples each, inside the square"
    found = {
        "psnr": (psnr(drawn[0][inside], x[inside]), "dB", 0.3),
        "apd": (1e4 * average_pairwise_distance(drawn[inside]), "1e-4", 5.0),
        "psnr_grey": (psnr(grey.expand_as(x[inside]), x[inside]), "dB", 0.3),
    }
    return means(found, "hole_{}", data, n, 0)


@experiment(CHAPTER)
def cost(_budget: str) -> list[Result]:
    """Seconds for sixteen solutions of one portrait at x8, projected."""
    problem = portraits_at(8, 1)
    hvae, encoder = load_pretrained("hvae_portraits64"), load_pretrained("encoder_portraits64_x8")
    super_resolve(hvae, encoder, problem.y, 1, generator=generator_from(0))
    start = time.perf_counter()
    super_resolve(hvae, encoder, problem.y, 16, 0.8, generator=generator_from(0))
    seconds = time.perf_counter() - start
    steps = read_card("encoder_portraits64_x8")["steps"]
    return [
        Result("seconds_sixteen", seconds, "s", None, "one portrait, 16 samples at x8", 16, 0),
        Result("steps_encoder", steps, "steps", None, "encoder_portraits64_x8", 1, None),
    ]
