"""Images that can be had offline."""

from course_lib.data.photos import PHOTOS, TEST_PHOTOS, Photos, load_crops, load_photo, load_photos

__all__ = ["PHOTOS", "TEST_PHOTOS", "Photos", "load_crops", "load_photo", "load_photos"]
