"""What a super-resolution by samples is compared with: a conditional flow, and a regression."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from course_lib.metrics import average_pairwise_distance, lr_psnr, psnr
from course_lib.models.flow import LOW_STD, SuperResolutionFlow
from course_lib.models.srresnet import SRResNet
from course_lib.operators import bicubic_downsampling
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, images_of
from course_lib.training.settings import Settings

FACTORS = (4, 8, 16)
TEMPERATURE = 0.8  # at which SRFlow samples faces (Lugmayr et al. 2020, arXiv:2006.14200)
SAMPLES = 4  # of each held-out image
WIDE_STD = 0.05  # of the low-resolution term when training starts


class NegativeLogLikelihood(Objective):
    """-log p(x | y) in nats per dimension, averaged over the factors of the flow.

    All factors come out of one pass. The width of the low-resolution term falls from `WIDE_STD` to
    the model's over the first half: a term that is narrow from the start drowns all the others.
    """

    def __init__(self, model: SuperResolutionFlow, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out
        size, device = held_out.shape[1:], held_out.device
        self.ops = [bicubic_downsampling(size, s, device=device) for s in model.factors]
        model.initialise(held_out)  # not from the first batch: each process has another one

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(x | y) / n for x between the grey levels, averaged over factors."""
        std = low_std(done)
        noise = torch.rand(batch.shape, generator=generator, device=generator.device)
        x = batch + (noise.to(batch) - 0.5) / 255  # a density needs values between the grey levels
        nats, error = [], []
        for (low, details), op in zip(self.model.densities(x), self.ops, strict=True):
            y = op.A(batch)
            error.append(mse_loss(low, y))
            nats.append(-details.mean() + low[0].numel() * gaussian_nats(error[-1], std))
        loss = torch.stack(nats).mean() / batch[0].numel()
        return loss, {"low_rmse": torch.stack(error).detach().sqrt().mean()}

    def preview(self, model: SuperResolutionFlow) -> Tensor:
        """Eight held-out images; for each factor what is measured, and one sample."""
        return rows(self.held_out, FACTORS, lambda y, factor: draw(model, y, factor, 1)[0])


class SquaredError(Objective):
    """Mean squared error of the enlarged image, whose minimum is E[x | y]."""

    def __init__(self, model: SRResNet, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out
        self.op = bicubic_downsampling(held_out.shape[1:], model.factor, device=held_out.device)

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """|f(A x) - x|^2, per number."""
        mse = mse_loss(self.model(self.op.A(batch)), batch)
        return mse, {"mse": mse.detach()}

    def preview(self, model: SRResNet) -> Tensor:
        """Eight held-out images, what is measured of them, and the answers."""
        return rows(self.held_out, (model.factor,), lambda y, _: model(y))


def low_std(done: float) -> float:
    """Width of the low-resolution term: from wide to narrow along a geometric sequence."""
    return LOW_STD * (WIDE_STD / LOW_STD) ** max(0.0, 1 - 2 * done)


def gaussian_nats(mse: Tensor, std: float) -> Tensor:
    """-log N(error; 0, std^2) for a number, given its mean square error."""
    return 0.5 * mse / std**2 + math.log(std) + 0.5 * math.log(2 * math.pi)


def draw(model: SuperResolutionFlow, y: Tensor, factor: int, n: int) -> Tensor:
    """n samples (n, B, C, H, W) at the temperature of the card."""
    return model.sample(
        y, n, factor=factor, temperature=TEMPERATURE, generator=generator_from(factor)
    )


def rows(x: Tensor, factors: Sequence[int], answer: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A contact sheet: eight images; for each factor, their large pixels and the answers."""
    shown = [x[:8]]
    for factor in factors:
        op = bicubic_downsampling(x.shape[1:], factor, device=x.device)
        y = op.A(x[:8])
        shown += [y.repeat_interleave(factor, -1).repeat_interleave(factor, -2), answer(y, factor)]
    return torch.cat(shown)


@torch.no_grad()
def evaluate_flow(flow: SuperResolutionFlow, held_out: Dataset) -> dict[str, Figure]:
    """For each factor: nats per dimension, and what samples are worth."""
    x = held_out[torch.arange(len(held_out))]
    noise = torch.rand(x.shape, generator=generator_from(0))
    between = x + (noise - 0.5) / 255
    figures, n = {}, len(x)
    data = f"held-out images, {SAMPLES} samples each, temperature {TEMPERATURE}"
    for factor in FACTORS:
        op = bicubic_downsampling(x.shape[1:], factor)
        y = op.A(x)
        nats = torch.cat(
            [
                -flow.log_prob(part, low)
                for part, low in zip(between.split(64), y.split(64), strict=True)
            ]
        )
        samples = torch.cat([draw(flow, low, factor, SAMPLES) for low in y.split(64)], dim=1)
        nats = nats.mean().item() / x[0].numel()
        figures[f"nll_x{factor}"] = Figure(nats, "nats per dimension", "held-out images", n)
        measured = {
            "psnr_sample": (psnr(samples[0], x), "dB"),
            "psnr_mean": (psnr(samples.mean(0), x), "dB"),
            "lr_psnr": (lr_psnr(samples[0], y, op.A), "dB"),
            "diversity": (1e4 * average_pairwise_distance(samples), "1e-4, mean square"),
        }
        for name, (values, unit) in measured.items():
            figures[f"{name}_x{factor}"] = Figure(values.mean().item(), unit, data, n)
    return figures


@torch.no_grad()
def evaluate_regression(model: SRResNet, held_out: Dataset) -> dict[str, Figure]:
    """PSNR and consistency beside those of bicubic interpolation."""
    x = held_out[torch.arange(len(held_out))]
    op = bicubic_downsampling(x.shape[1:], model.factor)
    y = op.A(x)
    answers = {
        "network": torch.cat([model(part) for part in y.split(64)]),
        "bicubic": model.factor**2 * op.A_adjoint(y),  # the prefilter, read as interpolation
    }
    figures = {}
    for name, answer in answers.items():
        for metric, values in (
            ("psnr", psnr(answer, x)),
            ("lr_psnr", lr_psnr(answer, y, op.A)),
        ):
            figures[f"{metric}_{name}"] = Figure(
                values.mean().item(), "dB", "held-out images", len(x)
            )
    return figures


def regression_recipe(factor: int, steps: int) -> Recipe:
    """SRResNet for one factor."""
    return Recipe(
        name=f"srresnet_portraits64_x{factor}",
        description=f"SRResNet of portraits, from 1/{factor} of the resolution",
        architecture="SRResNet",
        arguments={"factor": factor, "channels": 48, "blocks": 6},
        **images_of("portraits", 256),
        objective=SquaredError,
        evaluate=evaluate_regression,
        settings=Settings(steps=steps, batch_size=16),
    )


SUPER_RESOLUTION_RECIPES = [
    Recipe(
        name="flow_sr_portraits64",
        description="Conditional flow of portraits, from 1/2 to 1/16 of the resolution",
        architecture="SuperResolutionFlow",
        arguments={"steps": [4, 8, 10, 10], "features": 32, "blocks": 3, "hidden": 32},
        **images_of("portraits", 256),
        objective=NegativeLogLikelihood,
        evaluate=evaluate_flow,
        settings=Settings(steps=3500, batch_size=16),
    ),
    regression_recipe(4, 1000),
    regression_recipe(8, 1000),
    regression_recipe(16, 1000),
]
