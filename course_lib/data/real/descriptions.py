"""What the real sets are, and where their files come from."""

from typing import NamedTuple

from torch import Tensor

from course_lib.data.cache import ImageSet


class RealSet(NamedTuple):
    """What is said of a set, and where its files come from."""

    description: str
    licence: str
    source: str


BERKELEY = (
    "www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html: "
    "BSR_bsds500.tgz, 70 MB; root is its folder BSR/BSDS500/data/images"
)
SETS = {
    "bsds500": RealSet(
        "crops of the Berkeley segmentation photographs",
        "non-commercial research and education",
        BERKELEY,
    ),
    "bsds500_each": RealSet(
        "one crop from each of the Berkeley segmentation photographs",
        "non-commercial research and education",
        BERKELEY,
    ),
    "celeba": RealSet(
        "CelebA, faces of celebrities, aligned",
        "non-commercial research",
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html: img_align_celeba.zip, 1.4 GB, and "
        "list_eval_partition.txt",
    ),
    "ffhq": RealSet(
        "FFHQ, faces from Flickr",
        "CC BY-NC-SA 4.0; every photograph has its own in the set's metadata",
        "github.com/NVlabs/ffhq-dataset: the folder thumbnails128x128, 2 GB",
    ),
    "lfw": RealSet(
        "Labeled Faces in the Wild, funneled",
        "none stated; collected for research",
        "scikit-learn, by sklearn.datasets.fetch_lfw_people(): lfw-funneled.tgz, 240 MB, which it "
        "unpacks into lfw_home/lfw_funneled",
    ),
    "olivetti": RealSet(
        "Olivetti faces, ten photographs of each of forty persons",
        "credit to AT&T Laboratories Cambridge is asked for",
        "scikit-learn, by sklearn.datasets.fetch_olivetti_faces(): olivetti_py3.pkz, a few MB",
    ),
    "fashion_mnist": RealSet(
        "Fashion-MNIST, pieces of clothing, 28 x 28 pixels",
        "MIT",
        "github.com/zalandoresearch/fashion-mnist: four files *-ubyte.gz, 30 MB",
    ),
}


def image_set(name: str, images: Tensor, labels: Tensor | None = None) -> ImageSet:
    """Images of a set with its description; of the labels as many as there are images."""
    labels = None if labels is None else labels[: len(images)]
    return ImageSet(images, SETS[name].description, SETS[name].licence, labels)
