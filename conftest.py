"""Notebooks as tests: their marker, and their exercises once more after the last cell."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

import pytest
from exercise_cells import exercises_again
from nbval.plugin import IPyNbCell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cells of a notebook, and let its exercises follow its last cell."""
    items[:] = list(_with_exercises(items))
    for item in items:
        if isinstance(item, IPyNbCell):
            item.add_marker("notebook")


def _with_exercises(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    for item, following in zip_longest(items, items[1:]):
        yield item
        last = following is None or following.parent is not item.parent
        if last and isinstance(item, IPyNbCell):
            yield IPyNbCell.from_parent(
                item.parent,
                name="exercises",
                cell_num=item.cell_num + 1,
                cell=exercises_again(item.parent.nb),
                options=defaultdict(bool, check=False),
            )
