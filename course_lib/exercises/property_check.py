"""The frame of the exercises: a test of a property becomes a check that speaks and gives hints.

Each check asks for what mathematics promises (an adjoint identity, a vanishing gradient, a limit)
on random images, in double precision where that matters. It prints one line. A wrong answer gets a
hint, and a second wrong answer a stronger one: the ladder starts again once the check passes.
"""

import functools
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Generator, Size, Tensor

LIBRARIES = ("site-packages", "dist-packages", str(Path(__file__).parents[1]))


@dataclass(frozen=True)
class Verdict:
    """What a check found; true if the answer passed. It has printed itself already.

    Args:
        passed: whether the answer has the property.
        line: the printed line.
        error: what stopped the answer; `raise verdict.error` shows its traceback.
    """

    passed: bool
    line: str
    error: BaseException | None = None

    def __bool__(self) -> bool:
        return self.passed

    def _ipython_display_(self) -> None:
        """Show nothing more when a check is the last line of a cell."""


class WrongAnswer(Exception):
    """The reason why an answer is refused before its property is tested."""


class AnswerError(Exception):
    """An exception, its cause, that was raised inside a function of the student."""


class PropertyCheck:
    """A test of an answer, called like the test, that prints its verdict with a hint.

    A check keeps the rung of its ladder of hints to itself, one for each thread.

    Args:
        test: maps the answer to (passed, finding).
        title: name of the exercise in the printed line.
        hints: weakest first.
    """

    def __init__(self, test: Callable[..., tuple[bool, str]], title: str, *hints: str) -> None:
        functools.update_wrapper(self, test)
        self.test, self.title, self.hints = test, title, hints
        self._ladder = threading.local()

    def __call__(self, *arguments: Any, **options: Any) -> Verdict:
        """Test an answer, print one line, and climb the ladder if the answer is wrong."""
        calls: list[tuple[tuple, Any]] = []
        error = None
        try:
            passed, finding = self.test(*(_watched(a, calls) for a in arguments), **options)
        except NotImplementedError:
            return self._say(False, "○", "not written yet.")
        except AnswerError as stopped:
            error = stopped.__cause__
            return self._say(False, "✗", f"{_place(error)} {_advice(calls)}".strip(), error)
        except WrongAnswer as refused:
            passed, finding = False, str(refused)
        except Exception as misfit:  # the answer came back, and the test could not work with it
            error, passed = misfit, False
            finding = f"your answer{_form(calls)} does not fit ({misfit})"
        if passed:
            self._ladder.failures = 0
            return self._say(True, "✓", f"{finding}.")
        return self._say(False, "✗", f"{finding}. {_advice(calls) or self._next_hint()}", error)

    def _next_hint(self) -> str:
        failures = getattr(self._ladder, "failures", 0)
        self._ladder.failures = failures + 1
        rung = min(failures, len(self.hints) - 1)
        return f"Hint {rung + 1}: {self.hints[rung]}"

    def _say(
        self, passed: bool, mark: str, finding: str, error: BaseException | None = None
    ) -> Verdict:
        line = f"{mark} {self.title}: {finding}"
        print(line)
        return Verdict(passed, line, error)


def property_check(title: str, *hints: str) -> Callable[..., PropertyCheck]:
    """Turn a function that returns (passed, finding) into a check with a ladder of hints."""
    return lambda test: PropertyCheck(test, title, *hints)


def expect_shape(answer: Tensor, shape: Size | tuple[int, ...], name: str = "the answer") -> None:
    """Refuse an answer of another shape.

    Raises:
        WrongAnswer: with both shapes in words.
    """
    if tuple(answer.shape) != tuple(shape):
        raise WrongAnswer(f"{name} has shape {tuple(answer.shape)} instead of {tuple(shape)}")


def normal(generator: Generator, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Numbers between 0 and 1, of uniform distribution."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def _watched(argument: Any, calls: list[tuple[tuple, Any]]) -> Any:
    """A function of the student with its calls recorded; anything else passes through."""
    if not isinstance(argument, FunctionType | MethodType):
        return argument

    @functools.wraps(argument)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = argument(*args, **kwargs)
        except (NotImplementedError, AnswerError):
            raise
        except Exception as error:
            raise AnswerError from error
        if answer is None:
            raise WrongAnswer("your function returned None; is there a `return`?")
        calls.append((args, answer))
        return answer

    return watched


def _place(error: BaseException | None) -> str:
    """The exception in words, with the student's line that led to it."""
    said = f"your function raised {type(error).__name__}: {error}".splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    own = [frame for frame in frames if not any(home in frame.filename for home in LIBRARIES)]
    return f"{said} (line {own[-1].lineno}: `{own[-1].line}`)." if own else f"{said}."


def _form(calls: list[tuple[tuple, Any]]) -> str:
    answer = calls[-1][1] if calls else None
    return f" of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""


def _advice(calls: list[tuple[tuple, Any]]) -> str:
    """The mistake that the form of the last answer betrays, or ""."""
    if not calls or not isinstance(calls[-1][1], Tensor):
        return ""
    arguments, answer = calls[-1]
    if answer.is_complex():
        return "Hint: the answer is complex; is the inverse transform missing?"
    for image in arguments:
        if isinstance(image, Tensor) and image.ndim == answer.ndim > 1:
            lost = image.shape[-1] - answer.shape[-1]
            if image.shape[:-1] == answer.shape[:-1] and image.shape[-1] % 2 and lost == 1:
                return "Hint: irfft2 assumes an even width; tell it the size by s=x.shape[-2:]."
    return ""
