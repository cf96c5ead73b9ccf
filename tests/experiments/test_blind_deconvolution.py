"""The pairs of chapter 14, and its theorem in numbers."""

import os
from pathlib import Path

import pytest
import torch

from course_lib.data import TEST_PHOTOS
from course_lib.data.photos import TUNING_PHOTOS
from course_lib.experiments.blind_deconvolution import (
    DIRAC,
    KERNELS,
    SIGMA,
    blurred_pairs,
    profile_priors,
    published_portraits,
    score,
    scored,
    share_interval,
    theorem,
    tuning_pairs,
    widths,
)
from course_lib.inference.blind_deconvolution import BlindSolution
from course_lib.metrics import psnr
from course_lib.operators import Blur


@pytest.mark.parametrize("side", KERNELS)
def test_kernels_are_in_the_simplex_and_fit(side):
    for kernel in (family(side) for family in KERNELS[side].values()):
        assert kernel.shape == (1, 1, side, side)
        assert kernel.min() >= 0
        assert kernel.sum().item() == pytest.approx(1)


def test_pairs_are_blurred_in_turn_and_scored_up_to_a_translation():
    pairs = blurred_pairs("plates", 8)
    assert torch.equal(pairs.kernel[:4], pairs.kernel[4:])
    noise = pairs.y[1] - Blur(pairs.kernel[1:2], (1, 32, 32)).A(pairs.x[1])
    assert noise.std().item() == pytest.approx(SIGMA, rel=0.1)  # 1024 draws know it to 2 %
    moved = BlindSolution(
        pairs.y.roll((2, -3), (-2, -1)), "max_iter", kernel=pairs.kernel.roll(1, -1)
    )
    db, similarity = score(pairs, moved)
    # The nearest translate of y is at least as near as y.
    assert (db >= psnr(pairs.y, pairs.x) - 1e-4).all()
    assert (similarity > 0.9).all()  # a tap at the border may have wrapped around


@pytest.mark.parametrize("world", ["portraits", "plates", "photos"])
def test_no_pair_is_tuned_on_and_measured(world):
    """No tuning image is in a table; the photographs are others, not other crops."""
    side = 13 if world == "photos" else 9
    tuned = tuning_pairs(world, side, "class").x.flatten(1)
    measured = blurred_pairs(world, 8, side).x.flatten(1)
    assert (tuned[:, None] - measured).abs().amax(
        2
    ).min() > 1 / 255  # two rendered portraits are close by chance
    if world == "photos":
        assert not set(TUNING_PHOTOS) & set(TEST_PHOTOS)
        assert len(tuned) <= len(TUNING_PHOTOS)  # one crop of each


def test_no_photograph_of_bsds500_is_tuned_on_and_measured():
    """Those to tune on are of the half that weights are trained on, those of the tables are not."""
    if not (Path(os.environ.get("COURSE_DATA_DIR", "none")) / "bsds500").is_dir():
        pytest.skip("needs the photographs of BSDS500 in COURSE_DATA_DIR")
    tuned = tuning_pairs("photos", 13, "full").x.flatten(1)
    measured = blurred_pairs("photos", 24, 13, budget="full").x.flatten(1)
    assert len(tuned) == 8
    assert (tuned[:, None] - measured).abs().amax(2).min() > 0.1


def test_scores_count_diracs_and_successes():
    """Of four pairs: the truth, a Dirac, the truth moved, and a kernel just below the threshold."""
    pairs = blurred_pairs("plates", 4)
    x, kernel = pairs.x + 1e-3, pairs.kernel.clone()  # 60 dB
    kernel[1] = 0
    kernel[1, 0, 2, 3] = 1  # a Dirac that is not at the centre
    x[1] = pairs.y[1]
    kernel[2], x[2] = kernel[2].roll(1, -1), x[2].roll(-1, -1)
    kernel[3] = (1 - DIRAC) / 80
    kernel[3, 0, 4, 4] = DIRAC - 1e-4
    found = {k: v[0] for k, v in scored(pairs, BlindSolution(x, "max_iter", kernel=kernel)).items()}
    assert found["diracs"].tolist() == [False, True, False, False]
    assert found["succeeds"].tolist() == [True, False, True, False]
    assert found["gain"][1] >= -1e-4  # of y itself, moved to where it is nearest
    assert found["gain_half"] == pytest.approx(1.96 * found["gain"].std().item() / 2)


def test_the_ends_of_a_share():
    """None of 24: the upper end of Clopper and Pearson is 1 - 0.025^(1/24)."""
    found = {k: v[0] for k, v in share_interval(torch.zeros(24, dtype=torch.bool)).items()}
    assert found["low"] == 0
    assert found["high"] == pytest.approx(1 - 0.025 ** (1 / 24))


@pytest.mark.parametrize("experiment", [published_portraits, widths])
@pytest.mark.slow
def test_experiments_run_at_the_smoke_budget(experiment):
    found = {result.name: result for result in experiment("smoke")}
    assert len(found) > 10


@pytest.mark.slow
def test_measured_slopes_are_the_predicted_ones():
    found = {result.name: result.value for result in theorem("smoke")}
    assert found["least_eigenvalue"] > 0
    for unknown in ("image", "kernel"):
        predicted = found[f"slope_{unknown}"]
        assert found[f"measured_{unknown}_0.001"] == pytest.approx(predicted, rel=0.05)
        # what is left is of second order: a tenth of the noise, a tenth of the gap
        gaps = [abs(found[f"measured_{unknown}_{s}"] / predicted - 1) for s in ("0.01", "0.001")]
        assert gaps[1] < 0.2 * gaps[0]


def test_both_priors_of_the_profiles_are_potentials():
    for q in profile_priors().values():
        x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        assert q.grad(x).shape == x.shape
        assert q.lipschitz > 0
