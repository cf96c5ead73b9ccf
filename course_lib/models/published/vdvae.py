"""The very deep VAEs that OpenAI has published: their settings, and how to load their files.

Nothing is fetched. The files lie at https://github.com/openai/vdvae (see "Restoring saved
models" there; MIT licence); the averaged weights, *-model-ema.th, are those to use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.models.blocks import Standardise
from course_lib.models.hvae import HVAE
from course_lib.models.published.weight_files import check_file, load_state, load_whole
from course_lib.models.top_down import parse_blocks
from course_lib.models.vdvae import vdvae
from course_lib.project import CourseError


@dataclass(frozen=True)
class PublishedVDVAE:
    """The settings of a published model, as its repository has them.

    Args:
        file: name of the published file, "" if there is none.
        millions: parameters, in millions.
        enc_blocks, dec_blocks: in the notation of `parse_blocks`.
        side: side of the images, in pixels.
        width: channels of maps whose side is not in `widths`.
        mean, std: standardisation of the encoder's input, on the range 0 to 255.
        widths: channels of the maps, by side.
        bits: levels of a pixel, 2^bits, that the likelihood counts. (The released code counts
            those of 5 bits on a grid that does not fit its bins: erratum R1.)
        n_mixtures: number of logistics in a pixel.
        channels: 3 (colour).
    """

    file: str
    millions: float
    enc_blocks: str
    dec_blocks: str
    side: int
    width: int
    mean: float
    std: float
    widths: Mapping[int, int] = field(default_factory=dict)
    bits: int = 8
    n_mixtures: int = 10
    channels: int = 3

    def build(self) -> HVAE:
        """The model, with fresh weights; it takes images in [0, 1] as all of the course do."""
        blocks = parse_blocks(self.enc_blocks) + parse_blocks(self.dec_blocks)
        model = vdvae(
            enc_blocks=self.enc_blocks,
            dec_blocks=self.dec_blocks,
            widths={str(side): self.widths.get(side, self.width) for side, _ in blocks},
            img_size=(self.channels, self.side, self.side),
            n_mixtures=self.n_mixtures,
            bits=self.bits,
        )
        model.centre = Standardise(self.mean / 255, self.std / 255)
        return model


# fmt: off
PUBLISHED = {
    "cifar10": PublishedVDVAE(
        "cifar10-seed0-iter-900000-model-ema.th", 39,
        "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3",
        "1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21",
        side=32, width=384, mean=120.63838, std=64.16736,
    ),
    "imagenet32": PublishedVDVAE(
        "imagenet32-iter-1700000-model-ema.th", 119,
        "32x15,32d2,16x9,16d2,8x8,8d2,4x6,4d4,1x6",
        "1x2,4m1,4x4,8m4,8x9,16m8,16x19,32m16,32x40",
        side=32, width=512, mean=116.2373, std=69.37404,
    ),
    "imagenet64": PublishedVDVAE(
        "imagenet64-iter-1600000-model-ema.th", 125,
        "64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5",
        "1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12",
        side=64, width=512, mean=115.92961967, std=69.37404,
    ),
    "ffhq256": PublishedVDVAE(
        "ffhq256-iter-1700000-model-ema.th", 115,
        "256x3,256d2,128x8,128d2,64x12,64d2,32x17,32d2,16x7,16d2,8x5,8d2,4x5,4d4,1x4",
        "1x2,4m1,4x3,8m4,8x4,16m8,16x9,32m16,32x21,64m32,64x13,128m64,128x7,256m128",
        side=256, width=512, mean=112.8666757481, std=69.84780273, bits=5,
    ),
    "ffhq1024": PublishedVDVAE(
        "ffhq1024-iter-1700000-model-ema.th",
        109,  # by these settings; the repository says 115, as for 256 pixels
        "1024x1,1024d2,512x3,512d2,256x5,256d2,128x7,128d2,64x10,64d2,32x14,32d2,16x7,"
        "16d2,8x5,8d2,4x5,4d4,1x4",
        "1x2,4m1,4x3,8m4,8x4,16m8,16x9,32m16,32x20,64m32,64x14,128m64,128x7,256m128,"
        "256x2,512m256,1024m512",
        side=1024, width=16, mean=0.4387 * 255, std=0.2743 * 255, n_mixtures=2,
        widths={512: 32, 256: 64} | dict.fromkeys((128, 64, 32, 16, 8, 4, 1), 512),
    ),
}
# fmt: on


def load_vdvae(path: Path, published: PublishedVDVAE | str) -> HVAE:
    """A published model from its file, for images in [0, 1]; evaluation mode, frozen.

    Args:
        path: the file that you have fetched.
        published: a key of `PUBLISHED`, or the settings of another training of that code.

    Raises:
        CourseError: no such key; no such file, or one that is damaged or of another model.
    """
    if isinstance(published, str):
        if published not in PUBLISHED:
            raise CourseError(
                f"No published VDVAE {published!r}. There are: {', '.join(PUBLISHED)}."
            )
        published = PUBLISHED[published]
    file = f"{published.file or 'The file'} (about {4 * published.millions:.0f} MB)"
    check_file(path, f" {file} comes from https://github.com/openai/vdvae")
    return load_whole(published.build(), load_state(path), str(path))
