"""Denoisers by name: published files, or weights of the course."""

from pathlib import Path

from course_lib.models.denoiser import PreconditionedDenoiser
from course_lib.models.pretrained import load_pretrained, read_card
from course_lib.models.published.catalogue import PUBLISHED
from course_lib.models.published.edm import SignedRange, load_edm
from course_lib.project import CourseError


def load_denoiser(
    name: str, *, label: int | None = None
) -> tuple[PreconditionedDenoiser | SignedRange, str]:
    """A denoiser with what is known of it, from an EDM file or from weights of the course.

    Args:
        name: a path, or one of `available()`.
        label: the class, for a model with classes.

    Raises:
        CourseError: neither a file nor the name of a denoiser.
    """
    if Path(name).suffix:
        model, card = load_edm(Path(name), label=label), PUBLISHED.get(Path(name).name)
        if card is None:
            return model, "not one of the published files; licence and data unknown"
        return model, f"{card.data}; {card.licence}{'' if card.commercial else ', non-commercial'}"
    model = load_pretrained(name)
    if not isinstance(model, PreconditionedDenoiser):
        raise CourseError(f"{name} is a {type(model).__name__}, not a denoiser.")
    card = read_card(name)
    return model, f"{card['data']}; {card['licence']}"
