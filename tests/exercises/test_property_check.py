"""The frame of the exercises: verdicts, hints that climb, and mistakes that the frame names."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import pytest
import torch

from course_lib.exercises import PropertyCheck, check_heat, check_wiener_limits, property_check


@pytest.fixture
def check() -> PropertyCheck:
    """A fresh check, on the lowest rung of its ladder."""

    @property_check("answer", "think", "it is 42")
    def check_answer(answer):
        """answer() is 42."""
        found = answer()
        return found == 42, f"found {found}"

    return check_answer


def rung(verdict) -> str:
    return verdict.line.split("Hint ")[1][0]


def test_a_verdict_is_true_or_false_and_prints_one_line(check, capsys):
    verdict = check(lambda: 42)
    assert verdict
    assert capsys.readouterr().out == f"{verdict.line}\n" == "✓ answer: found 42.\n"
    assert not check(lambda: 41)
    assert capsys.readouterr().out == "✗ answer: found 41. Hint 1: think\n"
    with pytest.raises(FrozenInstanceError):
        verdict.passed = False


def test_a_check_reads_like_its_test(check):
    assert check.__doc__ == "answer() is 42."
    assert check.__name__ == "check_answer"


def test_hints_climb_and_start_again_after_success(check):
    assert [rung(check(lambda: 0)) for _ in range(3)] == ["1", "2", "2"]
    assert check(lambda: 42)
    assert rung(check(lambda: 0)) == "1"


def test_checks_and_threads_climb_ladders_of_their_own(check):
    twin = PropertyCheck(check.test, check.title, *check.hints)
    assert rung(check(lambda: 0)) == "1"
    assert rung(twin(lambda: 0)) == "1"

    def climb(_):
        return [rung(check(lambda: 0)) for _ in range(3)]

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(climb, 0).result() == other.submit(climb, 0).result() == ["1", "2", "2"]
    assert rung(check(lambda: 0)) == "2"  # this thread goes on where it was


def test_an_answer_that_is_not_written_is_no_error(capsys):
    def todo(*_):
        raise NotImplementedError

    assert not check_heat(todo)
    assert capsys.readouterr().out == "○ heat: not written yet.\n"


def test_a_bug_in_the_answer_is_named_and_keeps_its_traceback():
    def inverted(u, tau, n):
        return 1 / 0

    verdict = check_heat(inverted)
    assert not verdict
    assert "your function raised ZeroDivisionError: division by zero" in verdict.line
    assert "`return 1 / 0`" in verdict.line
    with pytest.raises(ZeroDivisionError):
        raise verdict.error


def test_a_bug_below_the_answer_is_shown_at_the_line_of_the_student():
    verdict = check_heat(lambda u, tau, n: torch.linalg.inv(u))
    assert "your function raised" in verdict.line
    assert "torch.linalg.inv(u)" in verdict.line
    assert "\n" not in verdict.line


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda *_: None, "is there a `return`?"),
        (lambda u, tau, n: u[..., :-1], "irfft2 assumes an even width"),
        (lambda u, tau, n: torch.fft.rfft2(u), "is the inverse transform missing?"),
        (lambda u, tau, n: u[..., :5], "of shape (1, 1, 12, 5) does not fit"),
        (lambda u, tau, n: "warm", "your answer does not fit"),
    ],
)
def test_mistakes_of_form_get_the_hint_that_fits(answer, message):
    verdict = check_heat(answer)
    assert not verdict
    assert message in verdict.line
    assert "\n" not in verdict.line


def test_a_forgotten_size_is_named():
    verdict = check_wiener_limits(lambda y, k, sigma, S: torch.fft.irfft2(torch.fft.rfft2(y)))
    assert "s=x.shape[-2:]" in verdict.line
