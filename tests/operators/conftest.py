"""Every operator once, small, odd and not square: a test can hold it against dense algebra."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from course_lib.operators import (
    MRI,
    Blur,
    Composition,
    CompressedSensing,
    Denoising,
    Downsampling,
    Inpainting,
    LinearOperator,
    Luminance,
    MirroredBlur,
    Tomography,
    bicubic_kernel,
    box_kernel,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(*shape, generator=seeded(sum(shape)), dtype=torch.float64).to(dtype)


def random_mask(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=seeded(1)) < 0.6


def coils(*shape: int, dtype: torch.dtype) -> Tensor:
    maps = torch.complex(
        random(*shape, dtype=dtype), random(*shape[::-1], dtype=dtype).permute(2, 1, 0)
    )
    return maps - 0.3


# The value builds the operator in a precision: the tests run in float64 unless they say otherwise.
CLOSED_FORMS: dict[str, Callable[[torch.dtype], LinearOperator]] = {
    "denoising": lambda dtype: Denoising((3, 7, 5)),
    "blur-odd": lambda dtype: Blur(random(1, 1, 3, 5, dtype=dtype), (2, 17, 12)),
    "blur-even-kernel": lambda dtype: Blur(random(1, 1, 4, 2, dtype=dtype), (1, 9, 8)),
    "blur-full-kernel": lambda dtype: Blur(random(1, 1, 7, 6, dtype=dtype), (1, 7, 6)),
    "blur-singular": lambda dtype: Blur(torch.full((1, 1, 1, 2), 0.5, dtype=dtype), (1, 5, 8)),
    "downsampling-bare": lambda dtype: Downsampling((3, 12, 8), 2),
    "downsampling-bicubic": lambda dtype: Downsampling((1, 21, 18), 3, bicubic_kernel(3, dtype)),
    "downsampling-box": lambda dtype: Downsampling((1, 24, 28), 4, box_kernel(4, dtype)),
    "downsampling-random": lambda dtype: Downsampling(
        (2, 15, 10), 5, random(1, 1, 4, 3, dtype=dtype)
    ),
    "downsampling-singular": lambda dtype: Downsampling(
        (1, 6, 8), 1, torch.full((1, 1, 1, 2), 0.5, dtype=dtype)
    ),
    "inpainting": lambda dtype: Inpainting(random_mask(3, 6, 7)),
    "luminance": lambda dtype: Luminance((3, 6, 7)),
    "gaussian-wide": lambda dtype: CompressedSensing(11, (2, 5, 4), seeded(), dtype=dtype),
    "gaussian-tall": lambda dtype: CompressedSensing(37, (1, 6, 5), seeded(), dtype=dtype),
    "fourier": lambda dtype: CompressedSensing(33, (2, 5, 6), seeded(), "fourier", dtype=dtype),
    "hadamard": lambda dtype: CompressedSensing(13, (2, 4, 4), seeded(), "hadamard", dtype=dtype),
    "mri-real": lambda dtype: MRI(random_mask(7, 6), (1, 7, 6)),
    "mri-complex": lambda dtype: MRI(random_mask(6, 5), (2, 6, 5)),
}
ITERATIVE: dict[str, Callable[[torch.dtype], LinearOperator]] = {
    "blur-seen-in-part": lambda dtype: Composition(
        Inpainting(random_mask(2, 9, 8)), Blur(random(1, 1, 2, 3, dtype=dtype), (2, 9, 8))
    ),
    "downsampling-seen-in-part": lambda dtype: Composition(
        Inpainting(random_mask(1, 6, 5)),
        Downsampling((1, 12, 10), 2, random(1, 1, 3, 4, dtype=dtype)),
    ),
    "mri-coils-real": lambda dtype: MRI(random_mask(6, 7), (1, 6, 7), coils(3, 6, 7, dtype=dtype)),
    "mri-coils-complex": lambda dtype: MRI(
        random_mask(5, 6), (2, 5, 6), coils(2, 5, 6, dtype=dtype)
    ),
    "blur-mirrored": lambda dtype: MirroredBlur(random(1, 1, 3, 5, dtype=dtype), (2, 7, 6)),
    "tomography": lambda dtype: Tomography((2, 7, 5), 4, dtype=dtype),
    "tomography-angles": lambda dtype: Tomography(
        (1, 5, 7), torch.tensor([-0.4, 0.1, 0.4, 0.9, 1.3, 1.7, 2.1, 2.5, 7.0]), dtype=dtype
    ),
}
OPERATORS = CLOSED_FORMS | ITERATIVE


@pytest.fixture(params=OPERATORS)
def op(request) -> LinearOperator:
    """Every linear operator, in float64."""
    return OPERATORS[request.param](torch.float64)


@pytest.fixture(params=CLOSED_FORMS)
def closed_form_op(request) -> LinearOperator:
    """The operators whose pseudo-inverse and proximal map need no iteration, in float64."""
    return CLOSED_FORMS[request.param](torch.float64)


@pytest.fixture(params=OPERATORS)
def build_op(request) -> Callable[[torch.dtype], LinearOperator]:
    """Every linear operator, in the precision the test asks for."""
    return OPERATORS[request.param]


@pytest.fixture
def dense() -> Callable[..., Tensor]:
    """dense(f, size): the matrix of a linear map f, from its action on the identity."""

    def matrix(f: Callable[[Tensor], Tensor], size: tuple[int, ...]) -> Tensor:
        identity = torch.eye(torch.Size(size).numel(), dtype=torch.float64)
        return f(identity.unflatten(1, size)).flatten(1).T

    return matrix
