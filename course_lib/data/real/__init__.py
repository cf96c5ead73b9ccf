"""Real image sets, for readers who have them: no file is downloaded.

Every loader takes `root`, the folder of the set; `load_real` finds it under COURSE_DATA_DIR too.
Decoded images are kept in the cache, under a name that changes with the files and the options.
"""

from course_lib.data.real.descriptions import SETS
from course_lib.data.real.files import Decoding
from course_lib.data.real.folders import image_folder
from course_lib.data.real.load import LOADERS, load_real

__all__ = ["LOADERS", "SETS", "Decoding", "image_folder", "load_real"]
