"""Numbers of chapter 12: many images for one measurement, and whether they are the right ones."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from course_lib.data.worlds import load_world
from course_lib.exact import matrix_of
from course_lib.exact.linear_hierarchy import (
    LinearMeasurementEncoder,
    aliased_hierarchy,
    aliasing_sensor,
)
from course_lib.experiments import plates_read
from course_lib.experiments.portraits_compared import CHAPTER, IMG_SIZE, SIZES, portraits_at
from course_lib.experiments.shared import Found, figures_from_card, means, with_intervals
from course_lib.inference import (
    consistency_projection,
    draw_images,
    latent_divergence,
    super_resolve,
)
from course_lib.inference.super_resolution import LatentEncoder, draw_latents
from course_lib.metrics import average_pairwise_distance, mean_half_width, psnr
from course_lib.models import load_pretrained, read_card
from course_lib.models.hvae import HVAE
from course_lib.operators import LinearOperator, bicubic_downsampling, central_hole
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

HOLE = slice(20, 44)  # rows and columns of a lost square of 24 x 24
FACTORS = (4, 8, 16)
SWEEP = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
WORLDS = ("portraits", "plates")
KINDS = {"hvae": "hvae_{}64", "flat": "vae_{}64_compact", "conv": "vae_{}64"}
GREY = 255  # grey levels of the unit interval


@experiment(CHAPTER, cheap=True)
def priors(_budget: str) -> list[Result]:
    """Figures of the hierarchical and the flat VAEs, and of the encoders, from their cards."""
    results = []
    for world in WORLDS:
        for kind, pattern in KINDS.items():
            name = pattern.format(world)
            results += figures_from_card(name, f"{kind}_{world}", leave_out="noise_std")
            count = read_card(name)["parameters"]
            results.append(Result(f"parameters_{kind}_{world}", count, "", None, name, 1, None))
    for factor in FACTORS:
        name = f"srresnet_portraits64_x{factor}"
        card = read_card(name)
        found = {"steps": (card["steps"], "steps", None), "minutes": (card["minutes"], "min", None)}
        results += means(found, f"{{}}_srresnet_x{factor}", name, 1, card["seed"])
    encoders = [f"portraits64_x{s}" for s in FACTORS] + ["portraits64_hole"]
    for name in [*encoders, *(f"plates64_{key}" for key in plates_read.READING)]:
        card = read_card(f"encoder_{name}")
        nats, n = card["figures"]["divergence"]["value"], card["figures"]["divergence"]["n"]
        found = {
            "minutes_encoder": (card["minutes"], "min", None),
            "divergence": (nats, "nats per image", None),
        }
        results += means(found, f"{{}}_{name}", "held-out images", n, card["seed"])
    return [*results, Result("images_divergence", n, "images", None, "held-out images", n, None)]


@experiment(CHAPTER)
def bounds(budget: str) -> list[Result]:
    """Bounds and reconstructions of the flat VAEs minus the hierarchy's, image by image.

    Images are decoded from the means of their posteriors, in all models.
    """
    n, results = {"smoke": 4, "class": 64, "full": 512}[budget], []
    for world in WORLDS:
        x = load_world(world, "test", n, progress=False)[torch.arange(n)]
        data = f"held-out {world}, image by image"
        elbo, quality = {}, {}
        for kind, pattern in KINDS.items():
            model, generator = load_pretrained(pattern.format(world)), generator_from(0)
            with torch.no_grad():
                parts = x.split(64)
                nats = [model.elbo(part, generator=generator).value for part in parts]
                seen = torch.cat([model.reconstruct(part) for part in parts])
            elbo[kind], quality[kind] = torch.cat(nats) / x[0].numel(), psnr(seen, x)
        found: dict[str, Found] = {
            f"rebuilt_{kind}": (values, "dB", 0.2) for kind, values in quality.items()
        }
        results += means(with_intervals(found), f"{{}}_{world}", data, n, 0)
        for kind in ("flat", "conv"):
            found = {
                "elbo": (elbo[kind] - elbo["hvae"], "nats per dimension", 0.02),
                "rebuilt": (quality[kind] - quality["hvae"], "dB", 0.2),
            }
            results += means(with_intervals(found), f"{{}}_lead_{kind}_{world}", data, n, 0)
    return results


@experiment(CHAPTER)
def nats_by_side(budget: str) -> list[Result]:
    """Rates of a portrait by the side of the groups, and what a measurement leaves open of them."""
    n = {"smoke": 4, "class": 64, "full": 256}[budget]
    hvae = load_pretrained("hvae_portraits64")
    x = load_world("portraits", "test", n, progress=False)[torch.arange(n)]
    rates = hvae.encode(x, generator=generator_from(0)).rates
    sides = torch.tensor(hvae.sides)
    found: dict[str, Found] = {
        f"nats_{side}": (rates[:, sides == side].sum(1), "nats", 10.0)
        for side in sorted(set(hvae.sides))
    }
    found["nats_finest_share"] = rates[:, sides == sides.max()].sum(1) / rates.sum(1), "", 0.02
    beyond = rates[:, sides == 8].sum(1) - rates[:, sides == 1].sum(1)
    found["nats_8_over_1"] = beyond, "nats", 10.0
    for factor in FACTORS:
        op = bicubic_downsampling(IMG_SIZE, factor)
        encoder = load_pretrained(f"encoder_portraits64_x{factor}")
        with torch.no_grad():
            left = latent_divergence(hvae, encoder, x, op.A(x), generator=generator_from(0))
        found[f"open_x{factor}"] = left.sum(1), "nats", 10.0
        share = left.sum(1) / rates[:, : encoder.k].sum(1)
        found[f"open_share_x{factor}"] = share, "of the rate of the same groups", 0.05
    return means(with_intervals(found), "{}", "held-out portraits", n, 0)


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
            found: dict[str, Found] = {
                "apd": (1e4 * average_pairwise_distance(drawn), "1e-4", 3.0),
                "psnr": (psnr(drawn[0], problem.x), "dB", 0.3),
            }
            name = f"sweep_{{}}_x{factor}_{temperature:g}"
            data = f"held-out portraits, {samples} samples each, projected"
            results += means(with_intervals(found), name, data, len(problem.x), 0)
    return results


@experiment(CHAPTER)
def ambiguity(budget: str) -> list[Result]:
    """U_k against k for each factor, and C_E of the encoders beside the U_k of their k.

    Measurements are those of held-out portraits, and ("own") those of images that the hierarchy
    draws, for which the proposition has its hypothesis on y.
    """
    n, _ = SIZES[budget]
    results = []
    hvae = load_pretrained("hvae_portraits64")
    x = load_world("portraits", "test", n, progress=False)[torch.arange(n)]
    latents = hvae.encode(x, generator=generator_from(1)).latents
    own = prior_latents(hvae, n)
    drawn = draw_images(hvae, own, generator=generator_from(4))
    data = "held-out portraits, grey levels of 255"
    for factor in FACTORS:
        op = bicubic_downsampling(IMG_SIZE, factor)
        for k in (0, *last_groups(hvae)):
            found: dict[str, Found] = {
                "u": (GREY * pair_distances(hvae, op, latents[:k], n), "grey levels", 0.5)
            }
            results += means(with_intervals(found), f"{{}}_x{factor}_{k}", data, n, 2)
        encoder = load_pretrained(f"encoder_portraits64_x{factor}")
        k = encoder.k
        found = {"k": (k, f"of {len(hvae.sides)}", 0.0)}
        found |= consistency_over_ambiguity(Case(hvae, encoder, op), x, latents[:k])
        results += means(found, f"{{}}_x{factor}", data, n, 3)
        found = consistency_over_ambiguity(Case(hvae, encoder, op), drawn, own[:k])
        data_own = "samples of the hierarchy, grey levels of 255"
        results += means(found, f"{{}}_own_x{factor}", data_own, n, 3)
    return results


class Case(NamedTuple):
    """A prior, an encoder of measurements, and what measures."""

    hvae: HVAE
    encoder: LatentEncoder
    op: LinearOperator


def consistency_over_ambiguity(
    case: Case, x: Tensor, latents: Sequence[Tensor]
) -> dict[str, Found]:
    """C_E for the measurements of x, and its ratio to U_k at given latents of x, image by image."""
    consistency = GREY * inconsistency(case, case.op.A(x))
    spread = GREY * pair_distances(case.hvae, case.op, latents, len(x))
    ratio = (consistency.mean() / spread.mean()).item()
    half = mean_half_width(consistency - ratio * spread) / spread.mean().item()  # delta method
    found = with_intervals({"ce": (consistency, "grey levels", 0.5)})
    return {**found, "ce_over_u": (ratio, "", 0.1), "half_ce_over_u": (half, "", None)}


def inconsistency(case: Case, y: Tensor) -> Tensor:
    """Root mean square of A x - y for one draw x of each measurement, (B,)."""
    told = draw_latents(case.hvae, case.encoder, y, generator=generator_from(0))
    return root_mean_square(
        case.op.A(draw_images(case.hvae, told, generator=generator_from(3))) - y
    )


def pair_distances(hvae: HVAE, op: LinearOperator, latents: Sequence[Tensor], n: int) -> Tensor:
    """Root mean square of A x - A x' for two images that share given latents, (B,)."""
    generator = generator_from(2)
    first, second = (op.A(draw_images(hvae, latents, generator=generator, n=n)) for _ in range(2))
    return root_mean_square(first - second)


def root_mean_square(residual: Tensor) -> Tensor:
    """Over all pixels of an image, (B,)."""
    return residual.flatten(1).norm(dim=1) / math.sqrt(residual[0].numel())


@torch.no_grad()
def prior_latents(hvae: HVAE, n: int) -> list[Tensor]:
    """One draw of all groups from the prior, n times."""
    draw, latents = hvae.prior_draw(1.0, [], generator_from(5)), []

    def keep(index: int, state: Tensor, prior: Normal) -> Tensor:
        latents.append(draw(index, state, prior))
        return latents[-1]

    hvae.decoder.descend(keep, n)
    return latents


def last_groups(hvae: HVAE) -> list[int]:
    """Numbers k of groups worth a look: every other one at 1 x 1, and each finer one."""
    vector = hvae.groups_up_to(1)
    return [*range(2, vector + 1, 2), *range(vector + 1, len(hvae.sides) + 1)]


@experiment(CHAPTER, cheap=True)
def linear_world(_budget: str) -> list[Result]:
    """C_E and U_k where everything is Gaussian.

    For the optimal encoder, for one whose standard deviations are 1.5 times too large, and for the
    optimal one on measurements that the model does not draw: those of images of twice the contrast.
    """
    n = 4000
    hvae, op = aliased_hierarchy(), aliasing_sensor()
    matrix = matrix_of(op)
    x = draw_images(hvae, [], generator=generator_from(1), n=n)
    y = op.A(x)
    data, results = "linear-Gaussian world, 8 x 8 to 4 x 4", []
    for k in (1, 2):
        told = hvae.encode(x, generator=generator_from(2)).latents[:k]
        spread = pair_distances(hvae, op, told, n)
        found = with_intervals({"linear_u": (spread, "", 0.002)})
        results += means(found, f"{{}}_{k}", data, n, 2)
        for words, r, contrast in (("optimal", 1.0, 1), ("unsure", 1.5, 1), ("contrast", 1.0, 2)):
            encoder = LinearMeasurementEncoder(hvae, matrix, k)
            encoder.conditionals = [(gain, r * std) for gain, std in encoder.conditionals]
            consistency = inconsistency(Case(hvae, encoder, op), contrast * y)
            found = {"ce": (consistency, "", 0.002), "gap": (consistency - spread, "", 0.002)}
            if contrast == 1:
                nats = latent_divergence(hvae, encoder, x, y, generator=generator_from(5))
                found["kl"] = nats.sum(1), "nats", 0.1
            name = f"linear_{{}}_{k}_{words}"
            results += means(with_intervals(found), name, data, n, 3)
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
            spread = drawn.std(0).flatten(1).square().mean(1).sqrt()
            data = f"held-out {world}, {samples} samples each"
            found = with_intervals({f"shared_{world}_{k}": (spread, "", 0.01)})
            results += means(found, "{}", data, count, 2)
    return results


@torch.no_grad()
def share(
    hvae: HVAE, latents: Sequence[Tensor], count: int, samples: int, temperature: float = 1.0
) -> Tensor:
    """Samples (S, B, C, H, W) that share given latents and nothing else."""
    repeated = [z.repeat(samples, 1, 1, 1) for z in latents]
    drawn = hvae.sample(samples * count, temperature, repeated, generator=generator_from(2))
    return drawn.unflatten(0, (samples, count))


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
    quality, plain = psnr(drawn[0][inside], x[inside]), psnr(grey.expand_as(x[inside]), x[inside])
    found: dict[str, Found] = {
        "psnr": (quality, "dB", 0.3),
        "apd": (1e4 * average_pairwise_distance(drawn[inside]), "1e-4", 5.0),
        "psnr_grey": (plain, "dB", 0.3),
        "psnr_lead_grey": (quality - plain, "dB", 0.3),
    }
    return means(with_intervals(found), "hole_{}", data, n, 0)


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
