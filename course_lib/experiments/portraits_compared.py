"""Tables of chapter 12: answers of several methods to one small portrait, scored and compared."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.data.worlds import load_world
from course_lib.experiments.shared import Found, means, perceptual, with_intervals
from course_lib.inference import consistency_projection, super_resolve
from course_lib.metrics import average_pairwise_distance, brisque, lpips, lr_psnr, psnr, ssim
from course_lib.metrics.fetched import brisque_folder
from course_lib.models import load_pretrained
from course_lib.operators import LinearOperator, bicubic_downsampling, bicubic_upsampling
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

CHAPTER = "12_diverse_super_resolution"
IMG_SIZE = (1, 64, 64)
TEMPERATURES = (0.1, 0.8)  # as in the table of Prost et al. 2024
SIZES = {"smoke": (2, 2), "class": (24, 4), "full": (128, 4)}  # images, samples for each
EXACT = 150.0  # dB, where float32 ends: residuals of 2^-25, or none at all
UNITS = {  # of a score, and the tolerance of its mean
    "psnr": ("dB", 0.3),
    "ssim": ("", 0.02),
    "lpips": ("", 0.01),
    "lr_psnr": ("dB", 0.5),
    "brisque": ("", 1.0),
    "apd": ("1e-4", 1.0),
    "apd_lpips": ("1e-3", 5.0),
    "psnr_mean": ("dB", 0.3),
}
PUBLISHED = {  # Prost et al., lecture: dB of LR-PSNR, "cons" after their projection
    "hvae_x4": 35.31,
    "hvae_x4_cons": 75.70,
    "hvae_x16_cons": 57.02,  # at temperature 0.8
    "flow_x4": 52.66,
}
Scores = dict[str, Tensor]  # metric -> value of each image (B,)


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
def comparison_x4(budget: str) -> list[Result]:
    """The table of Prost et al. 2024 at factor 4."""
    return compared(4, budget)


@experiment(CHAPTER)
def comparison_x8(budget: str) -> list[Result]:
    """The table of Prost et al. 2024 at factor 8."""
    return compared(8, budget)


@experiment(CHAPTER)
def comparison_x16(budget: str) -> list[Result]:
    """The table of Prost et al. 2024 at factor 16."""
    return compared(16, budget)


def compared(factor: int, budget: str) -> list[Result]:
    """Scores of every method before and after the projection, and differences of methods."""
    n, samples = SIZES[budget]
    problem = portraits_at(factor, n)
    answers, results = answers_to(problem, factor, samples), []
    before, after = {}, {}
    for label, drawn in answers.items():
        projected = consistency_projection(problem.op, drawn, problem.y)
        before[label] = scores(drawn, problem, budget)
        after[label] = scores(projected, problem, budget)
        data = f"held-out portraits, {len(drawn)} samples each"
        found = entries(before[label], "") | entries(after[label], "_cons")
        found["lr_psnr_before_cons"] = before[label]["lr_psnr"], *UNITS["lr_psnr"]
        changes = entries(differences(after[label], before[label]), "")
        for key, entry in found.items():
            metric, cons = key.removesuffix("_cons"), "_cons" * key.endswith("_cons")
            results += means({metric: entry}, f"{{}}_{label}_x{factor}{cons}", data, n, 0)
        name = f"{{}}_change_{label}_x{factor}"
        results += means(with_intervals(changes), name, data, n, 0)
        results += projection_gains(f"{label}_x{factor}", drawn, projected, problem.x)
    return [
        *results,
        *leads(before, after, f"_x{factor}", n),
        Result(f"images_compared_x{factor}", n, "images", 0.0, "held-out portraits", n, None),
    ]


def answers_to(problem: Portraits, factor: int, samples: int) -> dict[str, Tensor]:
    """Method, and temperature if it has one -> its images (S, B, C, H, W)."""
    regression = load_pretrained(f"srresnet_portraits64_x{factor}")
    with torch.no_grad():
        answers = {
            "bicubic": bicubic_upsampling(problem.y, factor)[None],
            "srresnet": regression(problem.y)[None],
        }
    for temperature in TEMPERATURES:
        for method, draw in problem.draw.items():
            answers[f"{method}_t{temperature:g}"] = draw(samples, temperature)
    return answers


def scores(drawn: Tensor, problem: Portraits, budget: str) -> Scores:
    """Scores of each image for samples (S, B, C, H, W), of the first where one is enough."""
    x, first = problem.x, drawn[0]
    found = {
        "psnr": psnr(first, x),
        "ssim": ssim(first, x),
        "lr_psnr": lr_psnr(first, problem.y, problem.op.A).clamp(max=EXACT),
        "apd": torch.zeros(len(x)),
    }
    found |= {key: values for key, (values, *_) in perceptual(first, x, budget).items()}
    if budget == "full" or brisque_folder().is_dir():
        found["brisque"] = brisque(first.clamp(0, 1))
    if "lpips" in found:
        found["apd_lpips"] = torch.zeros(len(x))
    if len(drawn) > 1:
        found["apd"] = 1e4 * average_pairwise_distance(drawn)
        found["psnr_mean"] = psnr(drawn.mean(0), x)
        if "lpips" in found:
            found["apd_lpips"] = 1e3 * average_pairwise_distance(drawn.clamp(0, 1), lpips_alex)
    return found


def lpips_alex(first: Tensor, second: Tensor) -> Tensor:
    """LPIPS with the net alex, (B,)."""
    return lpips(first, second, net="alex")


def entries(found: Mapping[str, Tensor], suffix: str) -> dict[str, Found]:
    """What `means` takes, for scores of images."""
    return {f"{key}{suffix}": (values, *UNITS[key]) for key, values in found.items()}


def differences(first: Scores, second: Scores) -> Scores:
    """First minus second, image by image, of the scores that both have."""
    return {key: first[key] - second[key] for key in first if key in second}


def leads(
    before: Mapping[str, Scores], after: Mapping[str, Scores], name: str, n: int
) -> list[Result]:
    """What the hierarchy's projected scores are above those of others, and warm above cold.

    Consistency is compared before the projection.
    """
    results = []
    pairs = {other: ("hvae_t0.8", f"{other}") for other in ("bicubic", "srresnet")}
    pairs |= {"flow": ("hvae_t0.8", "flow_t0.8"), "cold": ("hvae_t0.8", "hvae_t0.1")}
    pairs |= {"flow_cold": ("hvae_t0.1", "flow_t0.1")}
    for label, (one, other) in pairs.items():
        gaps = differences(after[one], after[other])
        gaps["lr_psnr"] = before[one]["lr_psnr"] - before[other]["lr_psnr"]
        found = with_intervals(entries(gaps, ""))
        data = "held-out portraits, image by image"
        results += means(found, f"{{}}_lead_{label}{name}", data, n, 0)
    return results


@experiment(CHAPTER)
def scores_of_the_truth(budget: str) -> list[Result]:
    """BRISQUE of the true portraits, and of the hierarchy's samples minus that, image by image."""
    n, _ = SIZES[budget]
    if budget != "full" and not brisque_folder().is_dir():
        return []
    results = []
    for factor in (4, 8, 16):
        problem = portraits_at(factor, n)
        truth = brisque(problem.x)
        drawn = consistency_projection(problem.op, problem.draw["hvae"](1, 0.8), problem.y)
        found: dict[str, Found] = {
            "over_truth": (brisque(drawn[0].clamp(0, 1)) - truth, *UNITS["brisque"])
        }
        name = f"brisque_{{}}_x{factor}"
        results += means(with_intervals(found), name, "held-out portraits", n, 0)
    found = {"truth": (truth, *UNITS["brisque"])}
    return results + means(with_intervals(found), "brisque_{}", "held-out portraits", n, None)


@experiment(CHAPTER, cheap=True)
def published(_budget: str) -> list[Result]:
    """LR-PSNR as printed in the lecture, for reference: nothing is measured."""
    data = "FFHQ 256 x 256, as printed by Prost et al."
    return [
        Result(f"published_lr_psnr_{key}", value, "dB", None, data, 1, None)
        for key, value in PUBLISHED.items()
    ]


def projection_gains(label: str, drawn: Tensor, projected: Tensor, x: Tensor) -> list[Result]:
    """How much nearer the projection brings each sample, and how exact Pythagoras is.

    The interval of the mean gain is over images: the samples of one image are averaged first.
    """
    before, after, moved = (
        difference.double().square().flatten(-3).sum(-1)
        for difference in (drawn - x, projected - x, projected - drawn)
    )
    gain = 10 * (before / after).log10()
    found: dict[str, Found] = {
        **with_intervals({"gain": (gain.mean(0), "dB", 0.02)}),
        "least_gain": (gain.min().item(), "dB", None),
        "lost": (gain < 0, "of samples", 0.0),
        "pythagoras": (((after + moved - before).abs() / before).max(), "relative", None),
    }
    data = "all samples of held-out portraits"
    return means(found, f"{{}}_{label}", data, gain.numel(), 0)
