"""Views of a set of images: at half the resolution, at both, or with its labels."""

import math

from torch import Tensor
from torch.nn.functional import avg_pool2d

from course_lib.project import CourseError
from course_lib.protocols import Dataset


class Halved:
    """A set of images at half the resolution, by means over 2 x 2 pixels."""

    def __init__(self, images: Dataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor) -> Tensor:
        return avg_pool2d(self.images[index], 2)


class EitherSize(Halved):
    """A set at both resolutions, for networks that take images of any size.

    A batch is at half the resolution if the number of its first image is even. Otherwise it is
    the first quarter of the batch at full resolution, so that both kinds cost the same.
    """

    def __getitem__(self, index: Tensor) -> Tensor:
        if index[0] % 2 == 0:
            return super().__getitem__(index)
        return self.images[index[: math.ceil(len(index) / 4)]]


class Labelled:
    """A set whose batches are pairs of images and labels.

    Raises:
        CourseError: the set has no labels.
    """

    def __init__(self, images: Dataset) -> None:
        labels = getattr(images, "labels", None)
        if labels is None:
            raise CourseError("Labelled: these images have no labels; take those of plates.")
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]
