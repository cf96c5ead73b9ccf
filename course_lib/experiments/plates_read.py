"""Characters of drawn plates in chapter 12, beside their posterior and beside the truth."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.data.cache import ImageSet
from course_lib.data.worlds import load_world
from course_lib.exact import label_posterior
from course_lib.experiments.shared import Found, means, with_intervals
from course_lib.inference import super_resolve
from course_lib.metrics import (
    bootstrap_by_group,
    calibration_bins,
    label_frequencies,
    total_variation_distance,
)
from course_lib.models import load_pretrained
from course_lib.models.reading import read_samples
from course_lib.operators import GaussianNoise, bicubic_downsampling
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

CHAPTER = "12_diverse_super_resolution"
IMG_SIZE = (1, 64, 64)
READING = {"x8": (8, 0.05), "x16": (16, 0.1)}  # factor, and noise, of plates to read
CLASSES = 36
PRIORS = {"hvae": "hvae_plates64", "flat": "vae_plates64_compact", "conv": "vae_plates64"}


class Reading(NamedTuple):
    """What is read on samples of plates, and what the measurement says."""

    frequencies: Tensor  # (B, 36), of the characters read on the samples
    confidence: Tensor  # (S, B), of the reader in them
    reader: Tensor  # (B, 36), p(character | y) by the reader
    brute: Tensor  # (B, 36), the same by brute force
    brute_half: Tensor  # (B, 36), by every other plate of its world
    other_half: Tensor  # (B, 36), by the others
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
    brute, half, other = (
        label_posterior(op, y, part, part.labels, sigma=sigma, classes=CLASSES)
        for part in (world, every_other(world, 0), every_other(world, 1))
    )
    with torch.no_grad():
        reader = load_pretrained("classifier_plates")(y, sigma).exp()
    return Reading(
        label_frequencies(read.character.view(samples, n), CLASSES),
        read.confidence.view(samples, n),
        reader.double(),
        brute.probabilities.double(),
        half.probabilities.double(),
        other.probabilities.double(),
        brute.effective_draws.double(),
        truth,
    )


def every_other(world: ImageSet, start: int) -> ImageSet:
    """Half of a world."""
    return replace(world, images=world.images[start::2], labels=world.labels[start::2])


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
        perfect = label_frequencies(
            torch.multinomial(found.reader, samples, True, generator=generator_from(3)).T, CLASSES
        )
        data = f"held-out plates, {key}, {samples} samples each"
        compared = with_intervals(against_posterior(found, perfect) | against_truth(found, samples))
        results += means(compared, f"read_{{}}_{key}", data, n, 1)
        for source, p in (("drawn", found.frequencies), ("reader", found.reader)):
            results += calibration(p, found.truth, f"{source}_{key}", data)
    return [*results, Result("images_read", n, "images", 0.0, "held-out plates", n, None)]


def against_posterior(found: Reading, perfect: Tensor) -> dict[str, Found]:
    """Distances between distributions over characters, for each plate.

    `perfect` are the frequencies of as many draws from the reader's distribution itself.
    """
    p, q = found.frequencies, found.reader
    distance, floor = total_variation_distance(p, q), total_variation_distance(perfect, q)
    return {
        "distance": (distance, "", 0.05),
        "distance_perfect": (floor, "", 0.05),
        "distance_excess": (distance - floor, "", 0.05),
        "distance_brute": (total_variation_distance(p, found.brute), "", 0.05),
        "reader_brute": (total_variation_distance(q, found.brute), "", 0.05),
        "brute_halves": (total_variation_distance(found.brute_half, found.other_half), "", 0.05),
        "effective_draws": (found.effective_draws, "", None),
        "distinct": ((p > 0).double().sum(1), "", 0.5),
        "perfect_distinct": ((perfect > 0).double().sum(1), "", 0.5),
    }


def against_truth(found: Reading, samples: int) -> dict[str, Found]:
    """What needs no posterior: agreement with the true character, for each plate.

    Under the posterior the truth is one more draw. Two draws then agree as often as a draw and the
    truth, whatever the posterior: "surplus" is the first frequency minus the second. And the Brier
    score sum_c p_c^2 - 2 p_truth is, on average, least for the posterior.
    """
    p, q, truth = found.frequencies, found.reader, found.truth[:, None]
    right, likely = p.gather(1, truth)[:, 0], q.gather(1, truth)[:, 0]
    agree = (samples * p.square().sum(1) - 1) / (samples - 1)
    brier = [r.square().sum(1) - 2 * r.gather(1, truth)[:, 0] for r in (q, found.brute)]
    return {
        "right": (right, "", 0.05),
        "posterior_right": (likely, "", 0.05),
        "right_lead": (right - likely, "", 0.05),
        "agree": (agree, "", 0.05),
        "surplus": (agree - right, "", 0.05),
        "reader_surplus": (q.square().sum(1) - likely, "", 0.05),
        "brier_reader_over_brute": (brier[0] - brier[1], "", 0.05),
        "confident": ((found.confidence > 0.9).double().mean(0), "", 0.05),
    }


def calibration(p: Tensor, truth: Tensor, name: str, data: str) -> list[Result]:
    """Stated and observed frequencies in fifths, and their difference with its interval.

    Characters of one plate are not independent: the bootstrap draws plates.
    """
    results = []
    right = torch.nn.functional.one_hot(truth, p.shape[1]).double()
    for stated, happened, count in calibration_bins(p, truth):
        place = math.ceil(5 * stated) - 1  # of the fifth (place / 5, (place + 1) / 5]
        found: dict[str, Found] = {
            "stated": (stated, "", 0.1),
            "happened": (happened, "", 0.2),
            "cases": (count, "cases", None),
        }
        inside = (p > place / 5) & (p <= place / 5 + 0.2)
        plate = inside.nonzero()[:, 0]
        if len(plate.unique()) > 1:
            gaps = (right - p)[inside]
            low, high = bootstrap_by_group(gaps, plate, generator=generator_from(5))
            found |= {"gap_low": (low, "", None), "gap_high": (high, "", None)}
            found["gap"] = gaps, "", None
        results += means(found, f"{{}}_{name}_{place}", data, count, 1)
    return results


@experiment(CHAPTER)
def prior_readings(budget: str) -> list[Result]:
    """Samples of priors of plates that the reader reads, and those given the vector of a plate."""
    n = 200 if budget == "smoke" else 2000
    results = []
    for label, name in PRIORS.items():
        read = read_samples(load_pretrained(name).sample(n, generator=generator_from(0)))
        data = f"samples of {name} at temperature 1"
        found: dict[str, Found] = {
            f"prior_readable_{label}": ((read.confidence > 0.9).double(), "above 0.9", 0.05)
        }
        results += means(with_intervals(found), "{}", data, n, 0)
        count = Result(f"prior_characters_{label}", read.characters, "of 36", 3.0, data, n, 0)
        results.append(count)
    hvae = load_pretrained("hvae_plates64")
    count = 64 if budget == "smoke" else 1000
    x = load_world("plates", "test", count, progress=False)[torch.arange(count)]
    told = hvae.encode(x, generator=generator_from(1)).latents[: hvae.groups_up_to(1)]
    read = read_samples(hvae.sample(count, 1.0, told, generator=generator_from(2)))
    clear = (read.confidence > 0.9).double()
    found = {"prior_readable_given_vector": (clear, "above 0.9", 0.05)}
    return results + means(with_intervals(found), "{}", "held-out plates", count, 2)
