"""Scores of an image without a truth to compare with; the lower, the more photographic.

`naturalness` measures the distance between the statistics of an image and those of pristine
photographs; no opinion of viewers enters. `brisque` predicts that opinion, by a regression that
others have trained and whose files `course fetch perceptual` gets.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from course_lib.metrics.fetched import brisque_folder, check_fetched
from course_lib.metrics.scene_statistics import (
    double_features,
    field_statistics,
    luminance,
    normalise,
)
from course_lib.metrics.support_vectors import SupportVectorRegression, load_regression

PATCH = 32  # pixels; 16 at half size
PRISTINE = Path(__file__).with_name("naturalness.safetensors")


class Gaussian(NamedTuple):
    """Mean and covariance of the 36 features of a patch."""

    mean: Float[Tensor, "*batch 36"]
    covariance: Float[Tensor, "*batch 36 36"]


def naturalness(estimate: Tensor) -> Float[Tensor, "b"]:
    """Distance of each image to pristine photographs, sqrt(d^T ((S + S0) / 2)^-1 d).

    Here d = m - m0; m and S are the mean and covariance of the 36 features over the image's
    patches of 32 x 32 pixels, m0 and S0 those of 200 photographs. About 3 for a photograph of
    256 x 256 pixels. With few patches m and S are noisy and the score grows: compare images of one
    size only.

    The form is that of NIQE (Mittal, Soundararajan & Bovik 2013, doi:10.1109/LSP.2012.2227726);
    the figures are not, since the patches are smaller, all of them count, and the photographs are
    others (`naturalness.json`).

    Args:
        estimate: (B, 1 or 3, H, W) in [0, 1], at least 64 pixels a side.
    """
    m, s = _gaussian(patch_features(estimate))
    pristine = pristine_gaussian()
    m0, s0 = pristine.mean.to(m), pristine.covariance.to(m)
    d = (m - m0).unsqueeze(-1)
    squared = d.mT @ torch.linalg.solve((s + s0) / 2, d)
    return squared.flatten().sqrt().to(estimate.dtype)


def patch_features(images: Tensor) -> Float[Tensor, "b patches 36"]:
    """The 36 features of every whole 32 x 32 patch, in double precision.

    The image is normalised as a whole, its border repeated; then each patch is judged apart.
    """
    if images.ndim == 4 and min(images.shape[-2:]) < 2 * PATCH:
        raise ValueError(
            f"naturalness: expected at least {2 * PATCH} pixels a side, got "
            f"{tuple(images.shape)}: its patches of {PATCH} x {PATCH} need a mean and a covariance."
        )
    full = luminance("naturalness", images)
    features = []
    for u, side in ((full, PATCH), (_half(full), PATCH // 2)):
        field = normalise(u, "replicate").field.squeeze(1)
        patches = field.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)
        features.append(field_statistics(patches.flatten(0, 1)).unflatten(0, patches.shape[:2]))
    return torch.cat(features, dim=-1)


@cache
def pristine_gaussian() -> Gaussian:
    """Mean and covariance over pristine photographs, as fitted by `fit_naturalness`."""
    tensors = load_file(PRISTINE)
    return Gaussian(tensors["mean"], tensors["covariance"])


def brisque(estimate: Tensor, *, folder: str | Path | None = None) -> Float[Tensor, "b"]:
    """The BRISQUE score of each image, about 0 (pristine) to 100 (bad), lower is better.

    The regression was trained by the authors of BRISQUE on opinions about distorted images; unlike
    images may score below 0 or above 100. It does not come with the course: two text files in the
    format of LIBSVM, `allmodel` (support vectors) and `allrange` (range of each feature), as in
    their release. The gradient with respect to the image is zero, since luminance is rounded.

    Args:
        estimate: (B, 1 or 3, H, W) in [0, 1], at least 14 pixels a side.
        folder: folder of the two files, by default that of `course fetch perceptual`.

    Raises:
        FileNotFoundError: one of the two files is missing.
        CourseError: a file of `course fetch perceptual` was cut short or changed.
        ValueError: a file is not in the expected format.

    Source: Mittal, Moorthy & Bovik 2012, doi:10.1109/TIP.2012.2214050.
    """
    if folder is None:
        folder = brisque_folder()
        for name in ("brisque/allmodel", "brisque/allrange"):
            check_fetched("brisque", name)
    return _regression(Path(folder), _state(Path(folder)))(double_features("brisque", estimate)).to(
        estimate.dtype
    )


@cache
def _regression(folder: Path, _state: tuple) -> SupportVectorRegression:
    """Read once for each state of the two files."""
    return load_regression(folder / "allmodel", folder / "allrange")


def _state(folder: Path) -> tuple:
    stats = [path.stat() for path in (folder / "allmodel", folder / "allrange") if path.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def _half(u: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h1 w1"]:
    """Half size, (H // 2, W // 2); at the border, weights outside are left out."""
    return interpolate(u, scale_factor=0.5, mode="bicubic", antialias=True)


def _gaussian(features: Float[Tensor, "b p f"]) -> Gaussian:
    mean = features.mean(1)
    centred = features - mean.unsqueeze(1)
    return Gaussian(mean, centred.mT @ centred / (features.shape[1] - 1))
