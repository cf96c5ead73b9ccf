"""The code behind every stored number: one module a chapter, one function an experiment."""

from course_lib.data import TEST_PHOTOS, Photos, load_photos

_SCALE = {"smoke": (2, 64), "class": (4, 128), "full": (len(TEST_PHOTOS), 256)}


def photographs(budget: str) -> tuple[Photos, str]:
    """The photographs of a budget, and the words that describe them in a result."""
    count, size = _SCALE[budget]
    photos = load_photos(TEST_PHOTOS[:count], size)
    return photos, f"{count} photographs, {size} x {size} grey"
