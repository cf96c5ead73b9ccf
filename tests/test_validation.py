"""What every door refuses, in words that say what was expected, what came, and what to do."""

import numpy as np
import pytest
import torch

from course_lib.functionals import LeastSquares
from course_lib.metrics import psnr, ssim
from course_lib.operators import Blur, Denoising, GaussianNoise, gaussian_kernel
from course_lib.solvers import accelerated_gradient, conjugate_gradient, gradient_descent, tychonov
from course_lib.validation import check_tensor

OP = Denoising((1, 8, 8), GaussianNoise(0.1))
Y = torch.full((1, 1, 8, 8), 0.5)
ARRAY = np.zeros((1, 1, 8, 8), dtype=np.float32)
F = LeastSquares(OP, Y)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LeastSquares(OP, ARRAY),
        lambda: gradient_descent(F, ARRAY),
        lambda: accelerated_gradient(F, ARRAY),
        lambda: conjugate_gradient(lambda x: x, ARRAY),
        lambda: tychonov(OP, ARRAY, 0.1),
        lambda: psnr(ARRAY, Y),
        lambda: ssim(Y, ARRAY),
        lambda: OP.A(ARRAY),
    ],
)
def test_an_array_is_refused(call):
    with pytest.raises(Exception, match=r"torch\.from_numpy|type hint|Type-check"):
        call()


def test_the_words_for_an_array():
    with pytest.raises(TypeError, match=r"f: y: expected a torch tensor, got ndarray.*from_numpy"):
        check_tensor("f: y", ARRAY)


@pytest.mark.parametrize("options", [{"max_iter": -1}, {"rtol": -0.1}, {"rtol": float("nan")}])
def test_stopping_rules_out_of_range(options):
    with pytest.raises(ValueError, match="max_iter >= 0 and rtol >= 0"):
        gradient_descent(F, Y, **options)


@pytest.mark.parametrize("op", [OP, Blur(gaussian_kernel(0.5), (1, 8, 8), GaussianNoise(0.1))])
def test_a_missing_generator_is_refused_before_any_work(op, monkeypatch):
    monkeypatch.setattr(type(op), "A", lambda self, x: pytest.fail("worked first"))
    with pytest.raises(TypeError, match=r"expected a torch\.Generator, got NoneType"):
        op(Y)
