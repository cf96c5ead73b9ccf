"""The alternating algorithm: descent, restarts, fixed points, invariances."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from blind_world import (
    F64,
    LEVEL,
    SIGMA,
    SIZE,
    TV,
    WORLD,
    kernels,
    newton,
)
from helpers import assert_batch_independent
from jaxtyping import TypeCheckError

from course_lib.inference.blind_deconvolution import (
    Alternation,
    DenoiserPotential,
    ImageStep,
    KernelStep,
    Stage,
    blind_deconvolution,
    data_fidelity,
    deconvolve,
    face_basis,
    first_kernels,
    profile,
)
from course_lib.metrics import align, kernel_similarity
from course_lib.operators import Blur, BlurEach, gaussian_kernel
from course_lib.rng import generator_from, normal_like

FAST = Alternation(ImageStep(), KernelStep(momentum=True), n_inner=1, n_kernel=10, restart=None)
PLAIN = Alternation(n_inner=3, restart=None)
OPTIONS = {"sigma": 0.01, "stage": Stage(0.1, n_outer=60)}


def test_no_turn_raises_the_objective_and_restarts_do(three):
    law, _, _, y = three
    plain = blind_deconvolution(law, y, 5, **OPTIONS, alternation=PLAIN)
    assert (plain.history["objective"].diff(dim=0) <= 1e-10).all()
    again = blind_deconvolution(law, y, 5, **OPTIONS, alternation=replace(PLAIN, restart=25))
    rises = (again.history["objective"].diff(dim=0) > 1e-10).any(1).nonzero().squeeze(1)
    assert set(rises.tolist()) <= {24, 49}  # from row 24 to row 25 the image started from y
    assert len(rises)


@pytest.mark.parametrize("update", ["projected", "through_projection"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_batch_is_a_loop(three, update, fast):
    law, _, _, y = three
    steps = replace(FAST if fast else replace(PLAIN, n_inner=2), restart=5)
    steps = replace(steps, kernel_step=KernelStep(update, momentum=fast))

    def answer(y):
        options = {"sigma": 0.01, "stage": Stage(0.1, n_outer=8), "alternation": steps}
        found = blind_deconvolution(law, y, (5, 3), **options)
        return torch.cat([found.x.flatten(1), found.kernel.flatten(1)], 1)

    assert_batch_independent(answer, y, rtol=0, atol=1e-10)  # transforms round in another order


def test_a_wide_start_finds_the_image_and_its_kernel(three):
    law, x, h, y = three
    found = blind_deconvolution(law, y, 5, **OPTIONS, alternation=FAST)
    assert (kernel_similarity(found.kernel, h) > 0.95).all()
    before = (y - x).square().mean((1, 2, 3))
    assert ((align(found.x, x) - x).square().mean((1, 2, 3)) < before / 4).all()


@pytest.mark.slow
def test_the_fast_algorithm_reaches_the_objective_of_the_plain_one(three):
    """With a third of the evaluations, and it does not stop there."""
    law, _, _, y = three
    plain = blind_deconvolution(
        law, y, 5, sigma=0.01, stage=Stage(0.1, n_outer=40), alternation=Alternation(restart=None)
    )
    fast = blind_deconvolution(
        law, y, 5, sigma=0.01, stage=Stage(0.1, n_outer=133), alternation=FAST
    )
    assert 3 * fast.evaluations < plain.evaluations
    assert (fast.history["objective"][-1] < plain.history["objective"][-1]).all()


def test_the_algorithm_finds_the_favourable_minimum(favourable):
    """From the true kernel, with a little noise: it ends where Newton's method does."""
    q, x, kernel, y = favourable
    y = y + 1e-3 * normal_like(y, generator_from(9))
    basis = face_basis(kernel)
    found = blind_deconvolution(
        q,
        y,
        (1, 5),
        kernel,
        sigma=SIGMA,
        stage=Stage(n_outer=100),
        alternation=replace(
            FAST, kernel_step=KernelStep("through_projection", momentum=True), n_kernel=5
        ),
    )
    moved = newton(q, x, kernel, basis, y)
    dh = (found.kernel - kernel).flatten()
    torch.testing.assert_close(basis.flatten(1) @ dh, moved[x.numel() :], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close((found.x - x).flatten(), moved[: x.numel()], rtol=1e-3, atol=1e-6)


def test_a_fixed_point_is_one_for_all_variants(favourable):
    """At the minimum neither step nor momentum moves anything."""
    q, x, kernel, y = favourable
    for step in ("gradient", "proximal"):
        for update in ("projected", "through_projection"):
            found = blind_deconvolution(
                q,
                y,
                (1, 5),
                kernel,
                sigma=SIGMA,
                stage=Stage(n_outer=3),
                alternation=Alternation(
                    ImageStep(step), KernelStep(update, momentum=True), 40, restart=None
                ),
            )
            torch.testing.assert_close(found.x, x, rtol=0, atol=1e-6)
            torch.testing.assert_close(found.kernel, kernel, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_translations_move_the_answer_and_nothing_else(images):
    """q does not see a translation: (T_s x, T_-s h) fits as well, and T_s y is answered T_s x."""
    h = torch.zeros(1, 1, 7, 7, dtype=F64)
    h[..., 2:5, 2:5] = kernels(1, (3, 3))
    shifted = h.roll((1, -2), (-2, -1))
    for q in (TV, DenoiserPotential(WORLD, LEVEL).value):
        one = data_fidelity(Blur(h, SIZE), images, images) + q(images)
        back = images.roll((-1, 2), (-2, -1))
        two = data_fidelity(Blur(shifted, SIZE), back, images) + q(back)
        torch.testing.assert_close(one, two)
    found, moved = (
        blind_deconvolution(TV, y, 5, sigma=SIGMA, stage=Stage(n_outer=5))
        for y in (images, images.roll((3, 4), (-2, -1)))
    )
    torch.testing.assert_close(moved.x, found.x.roll((3, 4), (-2, -1)), rtol=0, atol=1e-10)
    torch.testing.assert_close(moved.kernel, found.kernel, rtol=0, atol=1e-10)


def test_snapshots_and_histories(blurred):
    found = blind_deconvolution(
        TV,
        blurred,
        3,
        sigma=SIGMA,
        stage=Stage(n_outer=6),
        alternation=Alternation(n_inner=2),
        snapshots=(0, 2, 6),
    )
    assert [s.iteration for s in found.snapshots] == [0, 2, 6]
    assert torch.equal(found.snapshots[0].x, blurred)
    assert torch.equal(found.snapshots[-1].kernel, found.kernel)
    assert found.history["objective"].shape == (6, 3)
    assert found.evaluations == 12
    assert found.status == "max_iter"
    unknown = blind_deconvolution(lambda x, s: x, blurred, 3, sigma=SIGMA, stage=Stage(n_outer=2))
    assert set(unknown.history) == {"data_fidelity", "kernel_change"}  # q has no value


def test_the_last_row_is_that_of_the_answer(blurred):
    """F with its ridge, the data term, and how far the kernel has moved."""
    stage = Stage(kernel_ridge=0.7, n_outer=4)
    found = blind_deconvolution(TV, blurred, 3, sigma=SIGMA, stage=stage, snapshots=(3,))
    op, kernel = BlurEach(found.kernel, SIZE), found.kernel
    fit = data_fidelity(op, found.x, blurred)
    ridge = 0.35 * kernel.square().sum((1, 2, 3))
    torch.testing.assert_close(found.history["data_fidelity"][-1], fit)
    expected = fit + SIGMA**2 * TV(found.x) + ridge
    torch.testing.assert_close(found.history["objective"][-1], expected)
    moved = (kernel - found.snapshots[0].kernel).flatten(1).norm(dim=1)
    torch.testing.assert_close(found.history["kernel_change"][-1], moved)


@pytest.mark.parametrize("size", [21, 31])
def test_large_kernels(size):
    y = torch.rand(1, 1, 32, 32, generator=generator_from(12))
    found = blind_deconvolution(
        TV, y, size, "flat", sigma=SIGMA, stage=Stage(n_outer=3), alternation=Alternation(n_inner=2)
    )
    assert found.kernel.shape == (1, 1, size, size)
    assert found.kernel.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, r"expected odd sides of the kernel.*got \(4, 4\)"),
        ({"kernel_size": 13}, "kernels of 13 x 13 are larger than the images, 12 x 11"),
        ({"init": torch.ones(1, 1, 5, 5)}, r"expected first kernels of shape \(3, 1, 3, 3\)"),
        ({"sigma": 0.0}, "sigma is the standard deviation of the noise in y"),
    ],
)
def test_bad_input(blurred, options, message):
    with pytest.raises(ValueError, match=message):
        blind_deconvolution(TV, blurred, **({"kernel_size": 3, "sigma": SIGMA} | options))


def test_another_word_for_the_start_is_refused(blurred):
    """By the check of types, and without it by name."""
    with pytest.raises((ValueError, TypeCheckError)):
        blind_deconvolution(TV, blurred, 3, "dirac", sigma=SIGMA)
    unchecked = inspect.unwrap(first_kernels)
    with pytest.raises(ValueError, match="'wide', 'flat', 'narrow' or kernels, got 'dirac'"):
        unchecked("dirac", 3, blurred)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: Stage(n_outer=0), "n_outer must be at least 1, got 0"),
        (
            lambda: Stage(kernel_ridge=-0.1),
            "kernel_ridge must be finite and not negative, got -0.1",
        ),
        (lambda: Alternation(n_inner=0), "n_inner must be at least 1, got 0"),
        (lambda: Alternation(n_kernel=0), "n_kernel must be at least 1, got 0"),
        (lambda: Alternation(restart=0), "For no restarts give None"),
        (lambda: ImageStep("newton"), "'gradient'.*'proximal'"),
        (lambda: KernelStep("newton"), "'projected'.*'through_projection'"),
        (lambda: KernelStep(step_size=-1.0), "step_size must be positive"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises((ValueError, TypeCheckError), match=message):
        settings()


def test_a_measurement_that_is_not_finite():
    with pytest.raises(ValueError, match="y holds NaN"):
        deconvolve(TV, torch.full((1, *SIZE), math.nan), kernels(1).float(), sigma=SIGMA)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        DenoiserPotential(WORLD, 0.0)
    with pytest.raises(ValueError, match="a curve needs two thetas"):
        profile(TV, torch.rand(1, *SIZE), gaussian_kernel, [1.0], sigma=SIGMA)
