"""The best setting for each image: chosen image by image, never worse than any other."""

import torch

from course_lib.inference.classical import (
    best_by_psnr,
    oracle_median_tv,
    oracle_total_variation,
    oracle_tv_denoising,
)
from course_lib.kernels.smoothed_tv import smoothed_tv_denoise
from course_lib.metrics import psnr
from course_lib.operators import Denoising
from course_lib.rng import generator_from, normal_like


def squares(n=2):
    x = torch.zeros(n, 1, 16, 16)
    x[..., 4:12, 4:12] = 1
    return x


def test_best_by_psnr_chooses_for_each_image_and_takes_the_first_of_equals():
    x = squares(3)
    errors = [torch.tensor([0.3, 0.1, 0.2]), torch.tensor([0.1, 0.3, 0.2])]
    best, index = best_by_psnr((x + e.view(3, 1, 1, 1) for e in errors), x)
    assert index.tolist() == [1, 0, 0]
    torch.testing.assert_close((best - x)[:, 0, 0, 0], torch.tensor([0.1, 0.1, 0.2]))


def test_total_variation_is_no_worse_than_its_start():
    x = squares()
    y = x + 0.1 * normal_like(x, generator_from(0))
    found = oracle_total_variation(Denoising((1, 16, 16)), y, x)
    assert (psnr(found, x) > psnr(y, x) + 3).all()


def test_denoising_is_no_worse_than_any_point_of_the_grid():
    x = squares()
    y = x + 0.1 * normal_like(x, generator_from(0))
    found, eps = oracle_tv_denoising(y, x, 0.1, epsilons=(0.01, 0.1))
    for value in (0.01, 0.1):
        one = smoothed_tv_denoise(y, 0.05 + value, value, 150)  # the middle of the grid
        assert (psnr(found, x) >= psnr(one, x)).all()
    assert set(eps.tolist()) <= {torch.tensor(0.01).item(), torch.tensor(0.1).item()}
    clean, none = oracle_tv_denoising(x, x, 0.1, epsilons=(0.1,))
    assert torch.equal(clean, x)
    assert none.isinf().all()


def test_median_and_tv_fill_a_hole_and_remove_specks():
    x = squares() * 0.5
    mask = torch.zeros_like(x)
    mask[..., 7:9, 6:8] = 1
    damaged = torch.where(mask > 0, 1.0, x)
    damaged[:, 0, 1, 2] = 1  # a speck that no mask shows
    found = oracle_median_tv(damaged, mask, x)
    assert (psnr(found, x) > psnr(damaged, x) + 4).all()
    blind = oracle_median_tv(damaged, torch.zeros_like(mask), x)
    assert (psnr(found, x) >= psnr(blind, x)).all()
