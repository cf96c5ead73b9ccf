"""Point-spread functions, and what they have in common."""

import math
from itertools import pairwise

import pytest
import torch

from course_lib.operators import (
    Blur,
    airy_kernel,
    bicubic_kernel,
    box_kernel,
    defocus_kernel,
    gaussian_kernel,
    motion_kernel,
    wrap_kernel,
)

FAMILIES = {
    "gaussian": gaussian_kernel,
    "defocus": defocus_kernel,
    "airy": airy_kernel,
    "motion": motion_kernel,
}
ONE_PARAMETER = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
EPS = torch.finfo(torch.float64).eps


def offsets(kernel):
    """Rows and columns of the taps, counted from the centre (h // 2, w // 2)."""
    h, w = kernel.shape[-2:]
    return torch.arange(h).double()[:, None] - h // 2, torch.arange(w).double() - w // 2


def second_moment(kernel):
    rows, columns = offsets(kernel)
    return (kernel[0, 0].double() * (rows**2 + columns**2)).sum().item()


@ONE_PARAMETER
@pytest.mark.parametrize("width", [0.0, 0.3, 1.0, 2.7, 6.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_kernel_is_a_symmetric_probability(family, width, dtype):
    kernel = family(width, dtype=dtype)
    assert kernel.dtype == dtype
    assert kernel.ndim == 4
    assert kernel.shape[:2] == (1, 1)
    assert all(side % 2 == 1 for side in kernel.shape[-2:])
    eps = torch.finfo(dtype).eps
    assert kernel.sum() == pytest.approx(1, abs=20 * eps)
    assert (kernel >= 0).all()
    assert torch.allclose(kernel, kernel.flip(-1, -2), rtol=0, atol=eps)


@ONE_PARAMETER
@pytest.mark.parametrize("size", [None, 1, 7])
def test_width_zero_is_exactly_the_dirac(family, size):
    kernel = family(0.0, size=size)
    dirac = torch.zeros_like(kernel)
    dirac[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = 1
    assert torch.equal(kernel, dirac)


@ONE_PARAMETER
def test_narrow_kernels_tend_to_the_dirac(family):
    """No jump at 0, unlike the published code (erratum E10b); Airy's rings fall as radius^3."""
    for width in (1e-3, 1e-200):
        kernel = family(width, size=15, dtype=torch.float64)
        assert kernel[0, 0, 7, 7] == pytest.approx(1, abs=1e-3)


@ONE_PARAMETER
def test_a_larger_parameter_spreads_more(family):
    """On one grid of 41 pixels, so that only the width changes."""
    widths = [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0]
    moments = [second_moment(family(w, size=41, dtype=torch.float64)) for w in widths]
    assert all(a < b for a, b in pairwise(moments)), moments


def test_second_moments_of_the_gaussian():
    """0, .02, .43, 2, 4.5, 8 at these widths; from 1 on it is 2 std^2."""
    for std, expected in ((0.0, 0), (0.3, 0.02), (0.5, 0.43), (1.0, 2), (1.5, 4.5), (2.0, 8)):
        kernel = gaussian_kernel(std, size=31, dtype=torch.float64)
        assert second_moment(kernel) == pytest.approx(expected, abs=0.006)  # two printed digits


@ONE_PARAMETER
@pytest.mark.parametrize("width", [0.3, 1.0, 2.7, 6.0])
def test_the_transfer_function_never_amplifies(family, width):
    transfer = torch.fft.fft2(family(width, dtype=torch.float64), s=(64, 64)).abs()
    assert transfer.max() <= 1 + 10 * EPS
    assert transfer[..., 0, 0] == pytest.approx(1, abs=10 * EPS)


def test_gaussian_values():
    kernel = gaussian_kernel(1.5, size=9, dtype=torch.float64)[0, 0]
    rows, columns = offsets(kernel)
    expected = torch.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    assert torch.allclose(kernel, expected / expected.sum(), rtol=1e-14, atol=0)
    assert gaussian_kernel(1.5).shape == (1, 1, 13, 13)  # 2 ceil(4 std) + 1


def test_gaussian_tail_that_the_default_size_cuts_off():
    """The docstring says 6e-5 of an axis lies beyond 4 standard deviations."""
    assert math.erfc(4 / math.sqrt(2)) == pytest.approx(6.3e-5, rel=0.01)
    wide = gaussian_kernel(2.0, size=41, dtype=torch.float64)[0, 0].sum(0)
    assert wide[12:29].sum() == pytest.approx(1, abs=6.4e-5)


def test_defocus_is_flat_inside_and_falls_smoothly_outside():
    kernel = defocus_kernel(2.5, dtype=torch.float64)[0, 0]
    rows, columns = offsets(kernel)
    r = torch.hypot(rows, columns)
    centre = kernel[4, 4]
    assert torch.allclose(kernel[r <= 2.5], centre.expand(int((r <= 2.5).sum())))
    assert (kernel[r >= 3.5] == 0).all()
    expected = centre * math.exp(1 - 1 / (1 - 0.5**2))  # halfway down the rim, at r = 3
    assert kernel[4, 7] == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("radius", [3, 5, 8])
def test_airy_has_its_first_dark_ring_at_the_radius(radius):
    """A pixel averages over the ring, so it is dark but not black."""
    kernel = airy_kernel(float(radius), dtype=torch.float64)[0, 0]
    c = kernel.shape[0] // 2
    dark, inside, outside = (kernel[c, c + radius + k] for k in (0, -1, 1))
    assert dark < inside
    assert dark < 0.8 * outside
    assert dark < 0.02 * kernel[c, c]


def test_airy_values_against_quadrature():
    """Gauss-Legendre with 20 x 20 nodes a pixel and scipy's J1 stand in for the exact mean."""
    special = pytest.importorskip("scipy.special")
    kernel = airy_kernel(2.3, size=11, dtype=torch.float64)[0, 0]
    nodes, weights = (torch.from_numpy(values) for values in special.roots_legendre(20))
    axis = (torch.arange(11)[:, None] - 5 + nodes / 2).flatten()
    z = special.jn_zeros(1, 1)[0] * torch.hypot(axis[:, None], axis) / 2.3
    values = (2 * torch.from_numpy(special.j1(z.numpy())) / z) ** 2
    expected = torch.einsum("aibj,i,j->ab", values.reshape(11, 20, 11, 20), weights, weights)
    # The midpoint rule with spacing h = 1/5 errs by h^2 / 24 |Laplacian|. It is largest at the
    # centre, where (2 J1(z) / z)^2 = 1 - z^2 / 4 + ..., z = 1.67 r: 0.0046, over a sum of 4.25.
    assert torch.allclose(kernel, expected / expected.sum(), rtol=0, atol=0.0046 / 4.25)


def test_airy_widens_steadily():
    """Point sampling would let the second moment drop where a ring falls between pixels."""
    moments = [second_moment(airy_kernel(0.05 * k, size=41)) for k in range(80)]
    assert all(a < b for a, b in pairwise(moments))


@pytest.mark.parametrize(
    ("angle", "where"), [(0.0, (5, slice(None))), (math.pi / 2, (slice(None), 5))]
)
def test_motion_runs_along_its_angle(angle, where):
    """Angle 0 is a row, angle pi/2 a column: 4 pixels whole, two halves at the ends."""
    kernel = motion_kernel(5.0, angle, size=11, dtype=torch.float64)[0, 0]
    line = kernel[where]
    assert line.sum() == pytest.approx(1, abs=1e-12)
    assert torch.allclose(line[3:8], line[5].expand(5), rtol=0.2)
    assert (line[[0, 1, 9, 10]] == 0).all()


@pytest.mark.parametrize("length", [0.7, 1.3, 2.6, 3.3, 5.0, 7.9])
def test_motion_along_a_row_in_closed_form(length):
    """Each pixel holds the mean of the hat about it over the segment."""

    def below(t):  # integral of the hat (1 - |s|)+ up to t
        t = t.clamp(-1, 1)
        return torch.where(t < 0, (1 + t).square() / 2, 1 - (1 - t).square() / 2)

    row = motion_kernel(length, dtype=torch.float64)[0, 0]
    row = row[len(row) // 2]
    place = torch.arange(len(row), dtype=torch.float64) - len(row) // 2
    expected = (below(length / 2 - place) - below(-length / 2 - place)) / length
    # Points 1/64 apart: the midpoint rule errs by a square's eighth at each of three kinks.
    torch.testing.assert_close(row, expected, rtol=0, atol=3 * (1 / 64) ** 2 / 8 / length)


def test_motion_is_anticlockwise_as_displayed():
    """At 45 degrees the trace runs from bottom left to top right, rows counting downwards."""
    kernel = motion_kernel(6.0, math.pi / 4, size=9, dtype=torch.float64)[0, 0]
    assert kernel[2, 6] > 0.05  # up and right
    assert kernel[2, 2] == 0


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.5])
@pytest.mark.parametrize("length", [2.0, 5.5])
def test_spread_of_the_motion_kernel(length, angle):
    """Variance length^2 / 12 along the path, plus at most 2 * 1/4 from the bilinear splat."""
    kernel = motion_kernel(length, angle, dtype=torch.float64)
    rows, columns = offsets(kernel)
    weights = kernel[0, 0]
    along = (weights * (columns * math.cos(angle) - rows * math.sin(angle)) ** 2).sum()
    across = (weights * (columns * math.sin(angle) + rows * math.cos(angle)) ** 2).sum()
    assert length**2 / 12 - 0.01 <= along <= length**2 / 12 + 0.5
    assert across <= 0.5


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_prefilters_sum_to_one(factor):
    for kernel in (bicubic_kernel(factor, torch.float64), box_kernel(factor, torch.float64)):
        assert kernel.sum() == pytest.approx(1, abs=20 * EPS)
        assert kernel.shape[-1] % 2 == 1


@pytest.mark.parametrize("prefilter", [bicubic_kernel, box_kernel])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_prefilters_look_at_the_centre_of_the_block(prefilter, factor):
    """(k * u)(n) reads u(n - m): the block n, ..., n + s - 1 has its centre at m = -(s - 1) / 2."""
    kernel = prefilter(factor, torch.float64)
    rows, columns = offsets(kernel)
    assert (kernel[0, 0] * rows).sum() == pytest.approx(-(factor - 1) / 2, abs=1e-13)
    assert (kernel[0, 0] * columns).sum() == pytest.approx(-(factor - 1) / 2, abs=1e-13)


def test_bicubic_of_factor_one_changes_nothing():
    """Keys' function is 1 at 0 and 0 at the other integers."""
    kernel = bicubic_kernel(1, torch.float64)
    dirac = torch.zeros_like(kernel)
    dirac[..., 3, 3] = 1
    assert torch.equal(kernel, dirac)


@pytest.mark.parametrize("size", [(20, 20), (21, 13), (40, 30), (64, 64)])
def test_wrapped_kernel_is_the_same_convolution(size):
    """On a periodic image = on the same image laid out 5 x 5 times, where the kernel fits."""
    kernel = bicubic_kernel(8, torch.float64)
    wrapped = wrap_kernel(kernel, size)
    assert max(wrapped.shape[-2] - size[0], wrapped.shape[-1] - size[1]) <= 0
    assert wrapped.sum() == pytest.approx(kernel.sum().item(), rel=1e-13)
    x = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    large = x.repeat(1, 1, 5, 5)
    expected = Blur(kernel, (1, *large.shape[-2:])).A(large)[..., : size[0], : size[1]]
    found = Blur(wrapped, (1, *size)).A(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)  # FFT rounding


@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize("length", [7, 8, 9, 10])
def test_wrapped_kernel_keeps_its_centre(length, side, generator):
    """Odd and even sides: the centre is at h // 2, before and after."""
    kernel = torch.rand(1, 1, length, length + 1, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 1, side, side, generator=generator, dtype=torch.float64)
    large = x.repeat(1, 1, 5, 5)
    expected = Blur(kernel, (1, *large.shape[-2:])).A(large)[..., :side, :side]
    found = Blur(wrap_kernel(kernel, (side, side)), (1, side, side)).A(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)  # sums of 110 products


def test_a_kernel_that_fits_is_not_touched():
    kernel = gaussian_kernel(1.0)
    assert wrap_kernel(kernel, (64, 64)) is kernel
