"""Quantities of chapter 12 on small untrained models and on images made by hand."""

import math

import pytest
import torch

from course_lib.experiments.diverse_super_resolution import (
    Portraits,
    last_groups,
    projection_gains,
    scores,
    share,
)
from course_lib.inference import consistency_projection
from course_lib.metrics import naturalness
from course_lib.models.stacked_vae import stacked_vae
from course_lib.operators import bicubic_downsampling
from course_lib.rng import generator_from


@pytest.fixture
def hvae():
    torch.manual_seed(0)
    model = stacked_vae(
        dec_blocks="1x4,8m1,16m8",
        latents={"1": 2, "8": 2, "16": 1},
        channels=(4, 6, 8),
        width=12,
        blocks=1,
        tail=4,
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def problem():
    x = torch.rand(3, 1, 64, 64, generator=generator_from(1), dtype=torch.float64)
    op = bicubic_downsampling((1, 64, 64), 8)
    return Portraits(op, x, op.A(x), {})


def values(results) -> dict[str, float]:
    return {result.name: result.value for result in results}


def test_groups_worth_a_look(hvae):
    assert last_groups(hvae) == [2, 4, 5, 6]


def test_samples_share_what_is_given(hvae):
    """All groups given: the decoded image, each time. Some: the same image in another place."""
    x = torch.rand(3, 1, 64, 64, generator=generator_from(3), dtype=torch.float64)
    latents = hvae.encode(x, generator=generator_from(0)).latents
    drawn = share(hvae, latents, 3, 5)
    assert drawn.shape == (5, 3, 1, 64, 64)
    decoded = hvae.decode(latents).mean
    for sample in drawn:
        torch.testing.assert_close(sample, decoded)
    part = share(hvae, latents[:4], 3, 5)
    assert part.std(0).max() > 1e-3
    cold = share(hvae, latents[:4], 3, 5, temperature=0.0)
    assert cold.std(0).max() < 1e-12
    means = hvae.sample(3, 0.0, latents[:4], generator=generator_from(0))
    torch.testing.assert_close(cold[0], means)


def test_scores_of_a_known_offset(problem):
    """x + d and x - d: PSNR -20 log10 d, diversity (2 d)^2, and a mean without error."""
    d = 0.02
    drawn = torch.stack([problem.x + d, problem.x - d])
    found = values(scores("a", drawn, problem))
    assert found["psnr_a"] == pytest.approx(-20 * math.log10(d))
    # The prefilter's weights sum to one up to float32.
    assert found["lr_psnr_a"] == pytest.approx(-20 * math.log10(d), abs=1e-4)
    assert found["apd_a"] == pytest.approx(1e4 * 4 * d**2)
    assert found["psnr_mean_a"] > 250
    assert found["naturalness_a"] == pytest.approx(naturalness(drawn[0]).mean().item())
    single = values(scores("b", drawn[:1], problem))
    assert single.keys() == {"psnr_b", "ssim_b", "lr_psnr_b", "naturalness_b"}


def test_gains_of_a_projection(problem):
    noise = torch.randn(2, *problem.x.shape, generator=generator_from(6), dtype=torch.float64)
    drawn = problem.x + 0.1 * noise
    projected = consistency_projection(problem.op, drawn, problem.y)
    found = values(projection_gains("a", drawn, projected, problem.x))
    assert found["lost_a"] == 0
    # White noise loses the 64 dimensions of 4096 that are measured: 10 log10(4096 / 4032) on
    # average; of a chi-square with 64 degrees the relative deviation is sqrt(2 / 64).
    expected = 10 * math.log10(4096 / 4032)
    assert found["gain_a"] == pytest.approx(expected, rel=0.3)
    assert 0 < found["least_gain_a"] < found["gain_a"]
    assert found["pythagoras_a"] < 1e-6  # the kernel, and so the projection, is float32
    worse = values(projection_gains("b", projected, drawn, problem.x))
    assert worse["lost_b"] == 1
    assert worse["gain_b"] == pytest.approx(-found["gain_a"])
