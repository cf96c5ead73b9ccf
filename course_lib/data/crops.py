"""Random crops of photographs at several scales, each a function of a seed and its number."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from course_lib.data.decoding import open_picture, resize, to_bytes
from course_lib.project import CourseError
from course_lib.rng import counter_uniform

SHORT_SIDE = 512  # photographs are shrunk to it before crops are cut: else crops show only blur
MIN_STD, MAX_SATURATED = 0.02, 0.25  # what a crop must have: some contrast, not too much 0 or 255
TRIES = 32


@dataclass(frozen=True)
class Crops:
    """Which random crops of photographs.

    Crop i starts at photograph i modulo their number and is a function of (seed, i); flat or
    saturated crops are drawn again from the next photograph, or from the same one.

    Args:
        scales: factors, one of which resizes a photograph before a crop is cut.
        seed: name of the draw.
        one_each: draw flat crops again from the same photograph: no photograph gives two crops.
    """

    scales: tuple[float, ...] = (1.0, 0.7, 0.5)
    seed: int = 0
    one_each: bool = False


class Cropper:
    """Crops of some photographs, by their numbers.

    Args:
        files: the photographs.
        crops: which crops.
        size: side of a crop, in pixels.
        colour: three channels instead of one.
    """

    def __init__(self, files: tuple[Path, ...], crops: Crops, size: int, colour: bool) -> None:
        self.files, self.crops, self.size, self.colour = files, crops, size, colour
        self.levels = lru_cache(maxsize=256)(self._levels)  # every photograph gives many crops

    def __call__(self, index: range) -> UInt8[np.ndarray, "b c size size"]:
        """The crops of these numbers.

        Raises:
            CourseError: a photograph too small for a crop, or none with enough contrast.
        """
        uniform = counter_uniform(self.crops.seed, torch.tensor(index), 3 * TRIES)
        draws = uniform.view(-1, TRIES, 3).tolist()
        return np.stack([self._crop(i, draw) for i, draw in zip(index, draws, strict=True)])

    def _crop(self, first: int, draws: list[list[float]]) -> UInt8[np.ndarray, "c size size"]:
        """The first drawn crop that has contrast; try t looks into photograph first + t."""
        for step, draw in enumerate(draws):
            number = first if self.crops.one_each else (first + step) % len(self.files)
            window = self._window(self.levels(number), draw)
            saturated = np.mean((window <= 1) | (window >= 254))
            if window.std() >= 255 * MIN_STD and saturated <= MAX_SATURATED:
                return window
        raise CourseError(
            f"{TRIES} crops of {self.size} x {self.size} pixels, from "
            f"{self.files[first % len(self.files)]} onwards, were all flat or saturated. Are these "
            "photographs?"
        )

    def _window(self, levels: tuple[np.ndarray, ...], draw: list[float]) -> np.ndarray:
        """A level, a row and a column, chosen by three numbers in [0, 1)."""
        level = levels[int(draw[0] * len(levels))]
        row, column = (
            int(u * (side - self.size + 1))
            for u, side in zip(draw[1:], level.shape[-2:], strict=True)
        )
        return level[:, row : row + self.size, column : column + self.size]

    def _levels(self, number: int) -> tuple[np.ndarray, ...]:
        """A photograph at those of the scales that leave room for a crop, (C, H, W) uint8 each."""
        file = self.files[number]
        image = open_picture(file, colour=self.colour)[None]
        height, width = image.shape[-2:]
        shrink = min(1.0, SHORT_SIDE / min(height, width))
        shapes = [
            (round(height * shrink * s), round(width * shrink * s)) for s in self.crops.scales
        ]
        fitting = [shape for shape in shapes if min(shape) >= self.size]
        if not fitting:
            raise CourseError(
                f"{file} is {height} x {width} pixels, too small for crops of {self.size}."
            )
        return tuple(to_bytes(resize(image, shape))[0].numpy() for shape in fitting)
