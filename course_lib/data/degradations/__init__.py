"""What old photographs suffer, drawn at random for each picture of a batch.

Pictures are (B, C, H, W) in [0, 1], grey or colour, and come back in [0, 1]: the print or the
scanner saturates. Strengths are one number, or one for each picture; strength zero changes nothing.

Unstructured damage touches every pixel (noise, blur, JPEG); structured damage touches some
(scratches, folds), and is returned as `Damaged(image, mask)`, where mask is 1 on every pixel that
was touched. `old_photo` draws both as Wan et al. 2020 (arXiv:2004.09484) train on;
`shifted_old_photo` draws what that recipe never makes, to test how far a method generalises.
"""

from course_lib.data.degradations.global_damage import (
    banding,
    fading,
    film_grain,
    gaussian_blur,
    gaussian_noise,
    halftone,
    motion_blur,
    resolution_loss,
    salt_and_pepper,
    speckle,
    vignette,
)
from course_lib.data.degradations.jpeg import jpeg
from course_lib.data.degradations.local_damage import (
    Damaged,
    curved_scratches,
    dust,
    folds,
    missing_corners,
    scratches,
    stains,
)
from course_lib.data.degradations.old_photos import PRESETS, faded, old_photo, shifted_old_photo
from course_lib.data.degradations.recipes import KINDS, structured, unstructured

__all__ = [
    "KINDS",
    "PRESETS",
    "Damaged",
    "banding",
    "curved_scratches",
    "dust",
    "faded",
    "fading",
    "film_grain",
    "folds",
    "gaussian_blur",
    "gaussian_noise",
    "halftone",
    "jpeg",
    "missing_corners",
    "motion_blur",
    "old_photo",
    "resolution_loss",
    "salt_and_pepper",
    "scratches",
    "shifted_old_photo",
    "speckle",
    "stains",
    "structured",
    "unstructured",
    "vignette",
]
