"""Images that can be had offline."""

from course_lib.data import plates, portraits
from course_lib.data.photos import PHOTOS, TEST_PHOTOS, Photos, load_crops, load_photo, load_photos
from course_lib.data.worlds import ImageSet, load_world

__all__ = [
    "PHOTOS",
    "TEST_PHOTOS",
    "ImageSet",
    "Photos",
    "load_crops",
    "load_photo",
    "load_photos",
    "load_world",
    "plates",
    "portraits",
]
