"""Properties that many tests ask for, written once."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from course_lib.results import Result

NUMBER = Result(
    name="wiener_low",
    value=28.5,
    unit="dB",
    tolerance=0.05,
    data="camera, 256 x 256",
    n=1,
    seed=3,
    experiment="psnr",
    budget="full",
    command="course results 03_x --store",
    machine="2 cores, x86_64, torch 2.13.0",
)


def assert_batch_independent(
    f: Callable[[Tensor], Tensor], x: Tensor, *, rtol: float = 1e-12, atol: float = 0.0
) -> None:
    """Each image's answer is the same alone, in a batch, and in a batch turned round."""
    together = f(x)
    alone = torch.cat([f(image) for image in x.split(1)])
    torch.testing.assert_close(alone, together, rtol=rtol, atol=atol)
    torch.testing.assert_close(f(x.flip(0)).flip(0), together, rtol=rtol, atol=atol)


def judged(right: dict[str, Callable], wrong: dict[str, Callable]) -> tuple[Callable, Callable]:
    """Two tests of an exercise's check: right answers pass, wrong ones get one line with a hint."""

    @pytest.mark.parametrize("check", right.values(), ids=right)
    def test_right_answers_pass(check, capsys):
        assert check()
        printed = capsys.readouterr().out
        assert printed.startswith("✓ ")
        assert printed.count("\n") == 1

    @pytest.mark.parametrize("check", wrong.values(), ids=wrong)
    def test_wrong_answers_get_a_hint(check, capsys):
        assert not check()
        printed = capsys.readouterr().out
        assert printed.startswith("✗ ")
        assert "Hint" in printed
        assert printed.count("\n") == 1

    return test_right_answers_pass, test_wrong_answers_get_a_hint


def moved_by_one_step(objective, samples, folder, **settings) -> set[str]:
    """Names of the parameters and buffers of a model that one step of its training changes."""
    from course_lib.training import Settings, train

    objective.preview = lambda model: None  # no contact sheet
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    options = {"batch_size": len(samples), "precision": "float32", "weight_decay": 0.0}
    settings = Settings(steps=1, warm_up=0, **{**options, **settings})
    after = train(objective, samples, settings, folder, progress=False).raw.state_dict()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def cheap_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes measure the figures of their cards in seconds: on two images, with few steps."""
    from course_lib.inference import Starts
    from course_lib.solvers import LBFGS
    from course_lib.training.recipes import diffusion, gans

    monkeypatch.setitem(gans.INVERSION, "optimiser", LBFGS(max_iter=1))
    monkeypatch.setitem(gans.INVERSION, "starts", Starts(1, "prior"))
    monkeypatch.setattr(gans, "INVERTED", 2)
    little = {"samples": 2, "sampling_steps": 2, "potentials": 2, "n_steps": 1}
    monkeypatch.setattr(diffusion, "MEASURED", little)


def child_environment() -> dict[str, str]:
    """Environment of a process that imports the package under test, on one thread."""
    import course_lib

    root = str(Path(course_lib.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def dense_matrix(f: Callable[[Tensor], Tensor], size: tuple[int, ...]) -> Tensor:
    """The matrix of a linear map from images of this size (C, H, W), by its columns."""
    n = math.prod(size)
    return f(torch.eye(n, dtype=torch.float64).reshape(n, *size)).reshape(n, -1).T


def diagonal_operators(size: tuple[int, int, int], generator: Generator) -> tuple:
    """The operators that are diagonal in the Fourier basis."""
    from course_lib.operators import Blur, Denoising

    kernel = torch.rand(1, 1, 3, 4, generator=generator, dtype=torch.float64)
    return Denoising(size), Blur(kernel / kernel.sum(), size)
