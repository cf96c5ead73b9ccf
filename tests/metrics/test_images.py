"""The conversion between [0, 1] and [-1, 1], and bad input to every metric."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.metrics import (
    brisque_features,
    ms_ssim,
    naturalness,
    random_feature_distance,
    signed_to_unit,
    ssim_factors,
    unit_to_signed,
)

PAIRED = [ms_ssim, random_feature_distance, ssim_factors]
ALONE = [brisque_features, naturalness]


@given(st.floats(-10, 10))
def test_the_conversions_are_inverse(value):
    x = torch.tensor(value, dtype=torch.float64)
    assert signed_to_unit(unit_to_signed(x)).item() == pytest.approx(value, abs=1e-14)
    assert unit_to_signed(signed_to_unit(x)).item() == pytest.approx(value, abs=1e-14)


def test_the_conversions_map_the_ends_and_the_middle():
    unit, signed = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    assert torch.equal(unit_to_signed(unit), signed)
    assert torch.equal(signed_to_unit(signed), unit)


@pytest.mark.parametrize("metric", PAIRED + ALONE)
def test_bad_images(metric):
    def measure(x):
        return metric(x, x) if metric in PAIRED else metric(x)

    with pytest.raises(TypeError, match=r"x\.float\(\) / 255"):
        measure(torch.zeros(1, 1, 200, 200, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(B, C, H, W\).*unsqueeze\(0\)"):
        measure(torch.zeros(1, 200, 200))


@pytest.mark.parametrize("metric", [random_feature_distance, brisque_features, naturalness])
def test_neither_grey_nor_colour(metric):
    x = torch.zeros(1, 2, 64, 64)
    with pytest.raises(ValueError, match=r"expected 1 .* or 3 .* channels, got 2"):
        metric(x, x) if metric in PAIRED else metric(x)


@pytest.mark.parametrize("metric", PAIRED)
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="they must agree"):
        metric(torch.zeros(1, 1, 200, 200), torch.zeros(1, 1, 200, 201))


@pytest.mark.parametrize(
    ("metric", "side", "least"), [(brisque_features, 13, 14), (naturalness, 63, 64)]
)
def test_too_small(metric, side, least):
    with pytest.raises(ValueError, match=f"at least {least} pixels a side"):
        metric(torch.zeros(1, 1, side, 100))
    assert metric(torch.zeros(1, 1, least, least)).isfinite().all()
