"""What the numbers of chapter 11 rest on."""

import pytest

from course_lib.data import load_crops
from course_lib.experiments.hyperprior import TV_WEIGHTS, tuned_weight
from course_lib.experiments.variational_bayes import hyperprior, hyperprior_own, problem
from course_lib.operators import Denoising, GaussianNoise


def test_half_of_the_pixels_exactly():
    mask = problem("inpaint").mask
    assert mask.sum() == 64 * 64 / 2


@pytest.mark.parametrize("name", ["deblur", "deblur_fine", "x2", "inpaint"])
def test_noise_is_in_the_unit_of_the_image(name):
    levels = {"deblur": 7.65, "deblur_fine": 2.55, "x2": 1.0, "inpaint": 1.0}
    assert problem(name).noise_model.sigma == pytest.approx(levels[name] / 255)


def test_total_variation_is_tuned_on_what_it_is_given():
    """The weight of the best mean PSNR: more for more noise."""
    x = load_crops(2, 32).images
    few, much = (tuned_weight(Denoising((1, 32, 32), GaussianNoise(s)), x) for s in (0.01, 0.1))
    assert few < much
    assert {few, much} <= set(TV_WEIGHTS)


@pytest.mark.slow
def test_hyperprior_at_the_smoke_budget():
    """Gains are differences of PSNR image by image, so their means are those of the means."""
    found = {result.name: result.value for result in hyperprior("smoke")}
    for row in ("flat", "high", "low", "tempered"):
        assert 0 <= found[f"hyper_{row}_coverage_inpaint"] <= 1
        gain = found[f"hyper_{row}_psnr_inpaint"] - found["hyper_tv_psnr_inpaint"]
        assert found[f"hyper_{row}_over_tv_inpaint"] == pytest.approx(gain, abs=1e-4)


@pytest.mark.slow
def test_own_world_at_the_smoke_budget():
    found = {result.name: result.value for result in hyperprior_own("smoke")}
    assert set(found) == {"hyper_own_coverage_inpaint", "hyper_own_half_coverage_inpaint"}
    assert 0 <= found["hyper_own_coverage_inpaint"] <= 1
