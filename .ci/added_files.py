"""Refuse files that are too large for the repository: `added_files.py FILE...`."""

import sys
from pathlib import Path

KILOBYTES = {".safetensors": 16_000}  # weights; everything else below the limit of a notebook
LIMIT = 2_000


def main() -> None:
    """Print each file above its limit, and fail if there is one."""
    too_large = []
    for path in map(Path, sys.argv[1:]):
        size, limit = path.stat().st_size / 1000, KILOBYTES.get(path.suffix, LIMIT)
        if size > limit:
            too_large.append(f"{path}: {size:.0f} kB, at most {limit} kB")
    if too_large:
        sys.exit("\n".join(too_large))


if __name__ == "__main__":
    main()
