"""Properties that many tests ask for, written once."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


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
