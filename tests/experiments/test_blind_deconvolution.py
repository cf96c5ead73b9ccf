"""The pairs of chapter 14, and its theorem in numbers."""

import pytest
import torch

from course_lib.experiments.blind_deconvolution import (
    KERNELS,
    SIGMA,
    blurred_pairs,
    profile_priors,
    score,
    theorem,
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
