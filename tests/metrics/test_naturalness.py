"""The order of pristine and damaged photographs, and the files behind both scores."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from course_lib.data import TEST_PHOTOS, load_photos
from course_lib.metrics import brisque, brisque_features, naturalness
from course_lib.metrics.fit_naturalness import fit
from course_lib.metrics.naturalness import PRISTINE, patch_features, pristine_gaussian


def noisy(images, generator):
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def blurred(images, generator):
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, 1.5, 1.5)))


def compressed(images, generator):
    """JPEG of quality 10."""

    def code(image):
        grey = Image.fromarray((255 * image[0]).round().byte().numpy())
        grey.save(file := io.BytesIO(), "JPEG", quality=10)
        return torch.from_numpy(np.array(Image.open(file))).unsqueeze(0) / 255

    return torch.stack([code(image) for image in images])


@pytest.fixture(scope="module")
def photos():
    return load_photos(TEST_PHOTOS, 256).images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "least_ordered"), [(noisy, 12), (blurred, 12), (compressed, 11)]
)
def test_photographs_score_below_their_damaged_copies(damage, least_ordered, photos, generator):
    """Twelve photographs of 256 x 256; `brick` alone hardly shows its compression."""
    pristine, damaged = naturalness(photos), naturalness(damage(photos, generator))
    assert (pristine < damaged).sum() >= least_ordered
    assert damaged.mean() > 1.5 * pristine.mean()


def test_the_score_grows_with_the_noise_and_with_the_blur(photos, generator):
    photo = photos[:1]
    draw = torch.randn(photo.shape, generator=generator)
    by_noise = naturalness(torch.cat([photo + s * draw for s in (0, 0.03, 0.1, 0.3)]))
    by_blur = naturalness(
        torch.cat([torch.from_numpy(gaussian_filter(photo, (0, 0, s, s))) for s in (0, 1, 2, 4)])
    )
    assert (by_noise.diff() > 0).all()
    assert (by_blur.diff() > 0).all()


def test_one_value_an_image_whatever_the_batch(photos):
    both = naturalness(photos[:2, :, :64, :96])
    assert both.shape == (2,)
    assert both.dtype == torch.float32
    alone = naturalness(photos[1:2, :, :64, :96])
    assert torch.allclose(both[1:], alone, rtol=1e-5)
    colour = naturalness(photos[1:2, :, :64, :96].repeat(1, 3, 1, 1))
    assert torch.allclose(colour, alone, rtol=1e-4)


def test_the_distance_is_that_of_two_gaussians(photos):
    image = photos[:1, :, :128, :128].double()
    features = patch_features(image)[0].numpy()
    assert features.shape == (16, 36)
    mean, covariance = (t.numpy() for t in pristine_gaussian())
    d = features.mean(0) - mean
    pooled = (np.cov(features.T) + covariance) / 2
    expected = np.sqrt(d @ np.linalg.inv(pooled) @ d)
    assert naturalness(image).item() == pytest.approx(expected, rel=1e-6)


def test_the_card_describes_the_fitted_file():
    card = json.loads(PRISTINE.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256(PRISTINE.read_bytes()).hexdigest()
    assert (card["photographs"], card["patches"]) == (200, 30_000)
    mean, covariance = pristine_gaussian()
    assert mean.shape == (36,)
    assert torch.equal(covariance, covariance.mT)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_fitting_on_a_folder(tmp_path, photos, capfd):
    for i, photo in enumerate(photos[:2]):
        Image.fromarray((255 * photo[0]).byte().numpy()).save(tmp_path / f"{i}.png")
    out = tmp_path / "fitted.safetensors"
    fit(tmp_path, out, data="two photographs", licence="CC0")
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["data"], card["photographs"], card["patches"]) == ("two photographs", 2, 128)
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()


def test_fitting_on_an_empty_folder(tmp_path):
    with pytest.raises(Exception, match=r"holds no \.jpg or \.png photograph"):
        fit(tmp_path, tmp_path / "out.safetensors")


MODEL = """svm_type epsilon_svr
kernel_type rbf
gamma 0.05
nr_class 2
total_sv 3
rho -40.5
SV
12.5 1:0.5 2:-1 36:0.25
-3 3:1
7.25 1:-0.125 20:0.75
"""
RANGES = "x\n-1 1\n" + "".join(f"{i} {-i / 10} {1 + i}\n" for i in range(1, 37))


@pytest.fixture
def regression(tmp_path):
    (tmp_path / "allmodel").write_text(MODEL)
    (tmp_path / "allrange").write_text(RANGES)
    return tmp_path


def test_brisque_evaluates_the_regression_of_its_files(regression, photos):
    images = photos[:2, :, :64, :64].double()
    index = np.arange(1, 37)
    low, high = -index / 10, 1.0 + index
    vectors = np.zeros((3, 36))
    vectors[0, [0, 1, 35]], vectors[1, 2], vectors[2, [0, 19]] = (0.5, -1, 0.25), 1, (-0.125, 0.75)
    found = brisque(images, folder=regression)
    for value, features in zip(found.tolist(), brisque_features(images).numpy(), strict=True):
        scaled = 2 * (features - low) / (high - low) - 1
        kernel = np.exp(-0.05 * ((scaled - vectors) ** 2).sum(1))
        assert value == pytest.approx(kernel @ [12.5, -3, 7.25] + 40.5, rel=1e-12)


@pytest.mark.parametrize("missing", ["allmodel", "allrange"])
def test_brisque_without_its_files(missing, regression, photos):
    (regression / missing).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{missing} does not exist.*`course fetch perceptual` gets them"
    ):
        brisque(photos[:1], folder=regression)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("allmodel", "rbf", "linear", "found epsilon_svr with kernel linear"),
        ("allmodel", "total_sv 3", "total_sv 4", "found 3 support vectors instead of 4"),
        ("allmodel", "36:0.25", "37:0.25", "found feature 37"),
        ("allmodel", "gamma 0.05\n", "", "gamma"),
        ("allrange", "x\n", "y\n", "begins with 'y'"),
        ("allrange", "36 -3.6 37\n", "", "lacks a range"),
    ],
)
def test_brisque_refuses_other_files(file, old, new, complaint, regression, photos):
    path = regression / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=f"as LIBSVM writes them .*{complaint}"):
        brisque(photos[:1], folder=regression)
