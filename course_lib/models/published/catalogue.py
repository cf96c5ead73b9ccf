"""Diffusion models that others have published: data, licences and sources."""

from typing import NamedTuple


class ModelCard(NamedTuple):
    """Provenance of a model that others have made.

    Args:
        data: training set.
        licence: licence of the weights.
        commercial: whether the licence allows commercial use.
        data_range: range of the images that the network itself takes; the course's denoiser takes
            [0, 1] all the same.
        source: where the file comes from.
    """

    data: str
    licence: str
    commercial: bool
    data_range: tuple[float, float]
    source: str


_EDM = "https://github.com/NVlabs/edm, section 'Pre-trained models'"
_SETS = {
    "ffhq-64x64-uncond": "FFHQ, 64 x 64",
    "afhqv2-64x64-uncond": "AFHQv2 (not AFHQ: erratum E9), 64 x 64",
    "cifar10-32x32-uncond": "CIFAR-10",
    "cifar10-32x32-cond": "CIFAR-10, with its classes",
}
PUBLISHED = {
    f"edm-{name}-{kind}.pkl": ModelCard(data, "CC BY-NC-SA 4.0", False, (-1.0, 1.0), _EDM)
    for name, data in _SETS.items()
    for kind in ("vp", "ve")
} | {
    "ffhq_256_ncsnpp_continuous": ModelCard(
        "FFHQ, 256 x 256",
        "Apache-2.0",
        True,
        (0.0, 1.0),
        "https://github.com/yang-song/score_sde_pytorch, ve/ffhq_256_ncsnpp_continuous",
    ),
}


def where_from(file: str) -> str:
    """A hint at the source of a published file, or nothing."""
    card = PUBLISHED.get(file)
    return f" It comes from {card.source} ({card.licence})." if card else ""
