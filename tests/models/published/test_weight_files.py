"""Files of weights by others: read whole or not at all, and never executed."""

import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from course_lib.models.published.weight_files import compare, is_lfs_pointer, load_state, load_whole
from course_lib.project import CourseError


@pytest.fixture
def state():
    return {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(7)}


def saved(path, content):
    torch.save(content, path)
    return path


def test_plain_and_parallel_names(state, tmp_path):
    plain = load_state(saved(tmp_path / "plain.th", state))
    parallel = {f"module.{name}": value for name, value in state.items()}
    stripped = load_state(saved(tmp_path / "parallel.th", parallel))
    for loaded in (plain, stripped):
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)
    kept = load_state(tmp_path / "parallel.th", strip=())
    assert kept.keys() == parallel.keys()


def test_entry_and_prefix(state, tmp_path):
    """The layout of Lightning: a dictionary whose `state_dict` holds several parts."""
    content = {
        "state_dict": {f"cvae.{name}": value for name, value in state.items()}
        | {"loss.scale": torch.zeros(1)},
        "epoch": 3,
    }
    path = saved(tmp_path / "lightning.ckpt", content)
    loaded = load_state(path, key="state_dict", prefix="cvae.")
    assert loaded.keys() == state.keys()
    with pytest.raises(CourseError, match=r"no name begins with 'vae'. There are: cvae.a.weight"):
        load_state(path, key="state_dict", prefix="vae")
    with pytest.raises(CourseError, match=r"no entry 'model'. There is: state_dict, epoch"):
        load_state(path, key="model")
    with pytest.raises(CourseError, match=r"tensors only, but state_dict, epoch are none.*key="):
        load_state(path)


def test_names_that_would_collide(state, tmp_path):
    path = saved(tmp_path / "both.th", {"b": state["b"], "module.b": state["b"]})
    with pytest.raises(CourseError, match="two names become one"):
        load_state(path)


def test_code_is_not_run(tmp_path):
    """A pickle that would make a folder when loaded is refused, and no folder is there."""

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (os.fspath(tmp_path / "proof"),)

    torch.save({"weights": Malicious()}, tmp_path / "zip.th")
    (tmp_path / "bare.th").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("zip.th", "bare.th"):
        with pytest.raises(CourseError, match=r"not loaded, since that could run any code"):
            load_state(tmp_path / name)
    assert not (tmp_path / "proof").exists()


def test_damaged_and_missing_files(state, tmp_path):
    with pytest.raises(CourseError, match=r"There is no file .*none.th"):
        load_state(tmp_path / "none.th")
    whole = saved(tmp_path / "whole.th", state).read_bytes()
    (tmp_path / "half.th").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.th").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.th", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    for name in ("half.th", "empty.th", "other.th"):
        with pytest.raises(CourseError, match="damaged"):
            load_state(tmp_path / name)
    with pytest.raises(CourseError, match="expected weights by name, got list"):
        load_state(saved(tmp_path / "list.th", [1, 2]))


def test_lfs_pointer(state, tmp_path):
    path = tmp_path / "model"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        "size 303845816\n"
    )
    assert is_lfs_pointer(path)
    with pytest.raises(CourseError, match=r"pointer of Git LFS.*303845816 bytes, sha256 4d7a2146"):
        load_state(path)
    assert not is_lfs_pointer(saved(tmp_path / "real.th", state))


def test_report_and_refusal():
    """Every difference is named, and a model that does not fit is left as it was."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    assert not any(compare(model, state))
    assert str(compare(model, state)) == "all names and shapes agree"
    wrong = {**state, "0.weight": torch.zeros(2, 4), "2.weight": torch.zeros(1)}
    del wrong["1.bias"]
    report = compare(model, wrong)
    assert report.missing == ["1.bias"]
    assert report.unexpected == ["2.weight"]
    assert report.mismatched == ["0.weight (2, 4), the model has (2, 3)"]
    expected = (
        r"file does not fit this Sequential. 1 missing: 1.bias; 1 unexpected: 2.weight; "
        r"1 mismatched: 0.weight \(2, 4\), the model has \(2, 3\)"
    )
    with pytest.raises(CourseError, match=expected):
        load_whole(model, wrong, "file")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(CourseError, match=r"Sequential. 1 unexpected: 2.weight. Build"):
        load_whole(model, {**state, "2.weight": torch.zeros(1)}, "file")
    loaded = load_whole(model, state, "file")
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
