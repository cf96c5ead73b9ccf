"""Only the expected files are read."""

import pytest
import torch
from safetensors.torch import save_file

from course_lib.metrics.fetched import DIGESTS, NotFetched, check_fetched, content_digest
from course_lib.project import CourseError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    (tmp_path / "perceptual" / "brisque").mkdir(parents=True)
    return tmp_path / "perceptual"


@pytest.mark.parametrize("name", DIGESTS)
def test_a_file_that_is_not_there_or_another_one_is_refused(name, folder):
    with pytest.raises(NotFetched, match=r"metric: .* is not in .*Run `course fetch perceptual`"):
        check_fetched("metric", name)
    (folder / name).write_bytes(b"another file")
    with pytest.raises(CourseError, match=r"metric: .* was cut short or changed. Run that command"):
        check_fetched("metric", name)


def test_a_file_is_looked_at_again_when_it_changes(folder, monkeypatch):
    path = folder / "brisque" / "allmodel"
    path.write_bytes(b"right")
    monkeypatch.setitem(DIGESTS, "brisque/allmodel", content_digest(path))
    assert check_fetched("brisque", "brisque/allmodel") == path
    path.write_bytes(b"wrong!")
    with pytest.raises(CourseError, match="cut short or changed"):
        check_fetched("brisque", "brisque/allmodel")


def test_the_header_of_safetensors_does_not_count(tmp_path):
    tensors = {"a": torch.arange(6.0), "b": torch.ones(2, 3)}
    digests = set()
    for k, metadata in enumerate(({}, {"source": "a longer header"})):
        save_file(tensors, tmp_path / f"{k}.safetensors", metadata)
        digests.add(content_digest(tmp_path / f"{k}.safetensors"))
    assert len(digests) == 1
    save_file({**tensors, "b": torch.zeros(2, 3)}, tmp_path / "c.safetensors")
    assert content_digest(tmp_path / "c.safetensors") not in digests
