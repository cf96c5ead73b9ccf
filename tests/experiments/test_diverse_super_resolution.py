"""Quantities of chapter 12 on small untrained models and on images made by hand."""

import math

import pytest
import torch

from course_lib.experiments.diverse_super_resolution import last_groups, share
from course_lib.experiments.plates_read import Reading, against_truth, calibration
from course_lib.experiments.portraits_compared import (
    Portraits,
    differences,
    leads,
    projection_gains,
    scores,
)
from course_lib.inference import consistency_projection
from course_lib.metrics import label_frequencies
from course_lib.metrics.fetched import brisque_folder, weights_path
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
    found = scores(drawn, problem, "smoke")
    level = torch.full((3,), -20 * math.log10(d), dtype=torch.float64)
    torch.testing.assert_close(found["psnr"], level)
    # The prefilter's weights sum to one up to float32.
    torch.testing.assert_close(found["lr_psnr"], level, rtol=0, atol=1e-4)
    torch.testing.assert_close(found["apd"], torch.full((3,), 1e4 * 4 * d**2, dtype=torch.float64))
    assert (found["psnr_mean"] > 250).all()
    single = scores(drawn[:1], problem, "smoke")
    assert "psnr_mean" not in single
    assert (single["apd"] == 0).all()


@pytest.mark.skipif(
    not (weights_path("alex").is_file() and brisque_folder().is_dir()),
    reason="LPIPS and BRISQUE: course fetch perceptual",
)
def test_scores_of_perception(problem):
    """LPIPS of the truth is 0, so is the diversity of one image twice; 1000 d of two images."""
    twice = problem.x.repeat(2, 1, 1, 1, 1)
    found = scores(twice, problem, "full")
    assert found["lpips"].max() < 1e-6
    assert found["apd_lpips"].max() < 1e-3
    assert found["brisque"].shape == (3,)
    other = torch.stack([problem.x, problem.x.flip(-1)])
    flipped = scores(other.flip(0), problem, "full")
    assert scores(other, problem, "full")["apd_lpips"] == pytest.approx(1e3 * flipped["lpips"])


def test_leads_are_paired_by_image():
    """A constant lead has no interval, however much images differ."""
    level = torch.tensor([20.0, 30.0, 25.0])
    after = {
        method: {"psnr": level + lead, "lr_psnr": torch.full((3,), 150.0)}
        for method, lead in {
            "hvae_t0.8": 1.0,
            "hvae_t0.1": 2.0,
            "flow_t0.8": 0.5,
            "flow_t0.1": 0.0,
            "srresnet": 3.0,
            "bicubic": -1.0,
        }.items()
    }
    before = {key: {"lr_psnr": level + i} for i, key in enumerate(after)}
    found = values(leads(before, after, "_x8", 3))
    assert found["psnr_lead_flow_x8"] == pytest.approx(0.5)
    assert found["psnr_lead_srresnet_x8"] == pytest.approx(-2)
    assert found["psnr_lead_cold_x8"] == pytest.approx(-1)
    assert found["half_psnr_lead_flow_x8"] == pytest.approx(0, abs=1e-6)
    assert found["lr_psnr_lead_flow_x8"] == pytest.approx(-2)  # of before, not of after
    assert differences(after["srresnet"], after["bicubic"])["psnr"].tolist() == [4, 4, 4]


def test_draws_of_the_posterior_agree_with_the_truth_as_with_each_other():
    """Truth and draws from one p: no surplus. Draws from a sharpened p: one, by its own formula."""
    n, samples, generator = 4000, 16, generator_from(0)
    p = torch.rand(n, 36, generator=generator, dtype=torch.float64) ** 8
    p = p / p.sum(1, keepdim=True)
    truth = torch.multinomial(p, 1, generator=generator)[:, 0]
    brute = torch.full_like(p, 1 / 36)
    for q, calibrated in ((p, True), (p**2 / (p**2).sum(1, keepdim=True), False)):
        drawn = torch.multinomial(q, samples, True, generator=generator)
        frequencies = label_frequencies(drawn.T, 36)
        reading = Reading(
            frequencies, torch.ones(samples, n), q, brute, brute, brute, truth * 0.0, truth
        )
        found = against_truth(reading, samples)
        surplus = torch.as_tensor(found["surplus"][0])
        error = 4 * surplus.std() / n**0.5  # four standard errors
        expected = (q.square() - q * p).sum(1).mean()
        assert abs(surplus.mean() - expected) < error
        assert bool(abs(surplus.mean()) < error) is calibrated
        # Brier: of two distributions the one that the truth comes from scores less, by |p - r|^2.
        if calibrated:
            over = torch.as_tensor(found["brier_reader_over_brute"][0])
            exact = -(p - brute).square().sum(1).mean()
            assert abs(over.mean() - exact) < 4 * over.std() / n**0.5


def test_calibration_names_the_fifth_even_if_one_is_empty():
    p = torch.tensor([[0.1, 0.9], [0.1, 0.9], [0.15, 0.85]], dtype=torch.float64)
    found = values(calibration(p, torch.tensor([1, 1, 0]), "a", "by hand"))
    assert found["cases_a_0"] == found["cases_a_4"] == 3
    assert found["gap_a_4"] == pytest.approx(2 / 3 - 2.65 / 3)
    assert found["gap_low_a_4"] <= found["gap_a_4"] <= found["gap_high_a_4"]
    assert "cases_a_1" not in found


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
