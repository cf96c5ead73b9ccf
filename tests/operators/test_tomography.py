"""Tomography: exact areas, exact references, and the reconstruction formula."""

import math

import pytest
import torch

from course_lib.operators import Tomography


def coordinates(size):
    """Row and column offsets from the centre of the image, in pixels."""
    return tuple(torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size)


def offsets(op):
    """Positions s of the detector bins."""
    return torch.arange(op.bins, dtype=torch.float64) - op.bins // 2


def disc(n, radius, oversampling=8):
    """Share of each pixel that lies in the centred disc, by supersampling."""
    fine = (torch.arange(n * oversampling, dtype=torch.float64) + 0.5) / oversampling - n / 2
    inside = (fine[:, None].square() + fine.square() <= radius**2).double()
    return inside.reshape(1, n, oversampling, n, oversampling).mean((2, 4))


def blob(size, std, at=(0.0, 0.0)):
    rows, columns = coordinates(size)
    return torch.exp(-((rows[:, None] - at[0]) ** 2 + (columns - at[1]) ** 2) / (2 * std**2))[None]


def disc_strips(s, radius):
    """Integral of the chord 2 sqrt(R^2 - t^2) over [s - 1/2, s + 1/2]: exact strip areas."""

    def primitive(t):
        t = t.clamp(-radius, radius)
        return t * (radius**2 - t**2).sqrt() + radius**2 * torch.asin(t / radius)

    return primitive(s + 0.5) - primitive(s - 0.5)


@pytest.mark.parametrize(("n", "tolerance"), [(32, 0.03), (33, 0.03), (128, 0.01)])
def test_disc(n, tolerance):
    """Every view of a disc is the same half ellipse."""
    op = Tomography((1, n, n), 7, dtype=torch.float64)
    expected = disc_strips(offsets(op), 0.4 * n)
    views = op.A(disc(n, 0.4 * n))[0]
    for view in views:
        assert (view - expected).norm() <= tolerance * expected.norm()
    if n % 2:  # the bins fall on the pixels at angle 0: only the supersampling is left
        assert (views[0] - expected).norm() <= 3e-3 * expected.norm()


@pytest.mark.parametrize("size", [(3, 32, 32), (1, 9, 14)])
def test_every_view_conserves_mass(size, generator):
    x = torch.rand(2, *size, generator=generator, dtype=torch.float64)
    op = Tomography(size, torch.tensor([0.0, 0.3, math.pi / 4, 1.0, 2.2, 5.0]), dtype=torch.float64)
    mass = x.sum((-2, -1))[..., None]
    # Areas are exact; interpolation would need 1e-3.
    assert torch.allclose(op.A(x).sum(-1), mass.expand(-1, -1, 6), rtol=1e-13, atol=0)


@pytest.mark.parametrize("angle", [0.0, 0.2, math.pi / 4, 1.1, math.pi / 2, 2.5, -0.7])
def test_areas_against_brute_force(angle):
    """A square cut into 400 x 400 points, counted strip by strip."""
    size = (1, 3, 4)
    op = Tomography(size, torch.tensor([angle], dtype=torch.float64), dtype=torch.float64)
    fine = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 0.5
    rows, columns = coordinates(size[1:])
    for i, j in ((0, 0), (2, 1), (1, 3)):
        pixel = torch.zeros(size, dtype=torch.float64)
        pixel[0, i, j] = 1
        s = (columns[j] + fine) * math.cos(angle) + (rows[i] + fine)[:, None] * math.sin(angle)
        bins = (s + 0.5).floor().long() + op.bins // 2
        counted = torch.bincount(bins.flatten(), minlength=op.bins).double() / fine.numel() ** 2
        # The boundary of a strip passes at most 2 of 400 points a row.
        assert torch.allclose(op.A(pixel)[0, 0], counted, rtol=0, atol=2 / 400)


def test_axis_views_are_column_and_row_sums(generator):
    """On an odd image the bins fall on the pixels; offsets grow with the column, then the row."""
    x = torch.rand(1, 7, 9, generator=generator, dtype=torch.float64)
    op = Tomography((1, 7, 9), 2, dtype=torch.float64)  # angles 0 and pi / 2
    by_column, by_row = op.A(x)[0]
    centre = op.bins // 2
    assert torch.allclose(by_column[centre - 4 : centre + 5], x[0].sum(0), rtol=0, atol=1e-14)
    assert torch.allclose(by_row[centre - 3 : centre + 4], x[0].sum(1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("at", [(0.0, 5.0), (4.0, 0.0), (-3.0, 6.0)])
def test_centre_of_mass_follows_the_angle(at):
    """A spot at (row, column) is seen at s = column cos + row sin, from the image's centre."""
    op = Tomography((1, 32, 32), 9, dtype=torch.float64)
    x = blob((32, 32), 1.5, at)
    views = op.A(x)[0]
    found = (views * offsets(op)).sum(-1) / views.sum(-1)
    expected = at[1] * op.theta.cos() + at[0] * op.theta.sin()
    # The sampling of a blob of std 1.5 by pixels and strips moves its centre by less than 2e-4.
    assert torch.allclose(found, expected, rtol=0, atol=1e-3)


def test_gaussian_blob():
    """The projection of a Gaussian is a Gaussian; the square pixel and the strip add 1/12 each."""
    std = 3.0
    # Along the axes and diagonals pixels and bins share a grid, and the 1/12 depend on its phase.
    op = Tomography((1, 48, 48), torch.tensor([0.3, 0.6, 1.1, 2.0, 2.5]), dtype=torch.float64)
    views = op.A(blob((48, 48), std))[0]
    variance = std**2 + 2 / 12
    profile = torch.exp(-offsets(op).square() / (2 * variance))
    expected = profile * math.sqrt(2 * math.pi) * std * std / math.sqrt(variance)
    for view in views:
        # Boxes have a fourth cumulant, a Gaussian has none: 1e-4 here.
        assert (view - expected).norm() <= 1e-3 * expected.norm()


def test_fourier_slice_theorem():
    """The 1-D transform of a view is the 2-D transform of the image on the line at its angle."""
    n = 64
    op = Tomography((1, n, n), 6, dtype=torch.float64)
    x = blob((n, n), 3.0, (4.0, -6.0)) + 0.5 * blob((n, n), 2.0, (-8.0, 3.0))
    rows, columns = coordinates((n, n))
    f = torch.linspace(-0.15, 0.15, 13, dtype=torch.float64)
    views = op.A(x)[0]
    for theta, view in zip(op.theta, views, strict=True):
        slice_of_view = (view * torch.exp(-2j * math.pi * f[:, None] * offsets(op))).sum(-1)
        row_phase = torch.exp(-2j * math.pi * f[:, None] * theta.sin() * rows)
        column_phase = torch.exp(-2j * math.pi * f[:, None] * theta.cos() * columns)
        slice_of_image = torch.einsum("fi,ij,fj->f", row_phase, x[0].to(row_phase), column_phase)
        gap = (slice_of_view - slice_of_image).abs().max()
        assert gap <= 0.02 * slice_of_image.abs().max()  # the strip damps by sinc(f)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (41, 56)])
def test_filtered_backprojection_reconstructs(size):
    """Amplitude, place and orientation of two unequal spots come back from many views."""
    op = Tomography((1, *size), 180, dtype=torch.float64)
    x = blob(size, 3.0, (4.0, -6.0)) + 0.5 * blob(size, 2.0, (-8.0, 3.0))
    found = op.filtered_backprojection(op.A(x))
    # Pixels, strips and bins each blur by 1/12 or so: 4 % of the narrow spot.
    assert (found - x).norm() <= 0.05 * x.norm()


def test_filtered_backprojection_is_the_direct_sum(generator):
    """The band-limited ramp |f|, f <= 1/2, is 1/4 at 0, -1 / (pi k)^2 at odd k, 0 at even ones.

    Views are zero beyond the detector: nothing wraps around, whatever the number of bins.
    """
    for size in (8, 8), (13, 9), (21, 24):
        op = Tomography((1, *size), 5, dtype=torch.float64)
        y = torch.rand(1, *op.measurement_size, generator=generator, dtype=torch.float64)
        k = torch.arange(op.bins)[:, None] - torch.arange(op.bins)
        ramp = torch.where(k % 2 == 1, -1 / (math.pi * k.double()).square(), 0.0)
        ramp.fill_diagonal_(0.25)
        expected = op.A_adjoint(y @ ramp) * math.pi / 5
        torch.testing.assert_close(op.filtered_backprojection(y), expected, rtol=0, atol=1e-13)


def test_filtered_backprojection_of_a_disc_has_the_right_height():
    op = Tomography((1, 64, 64), 120, dtype=torch.float64)
    found = op.filtered_backprojection(op.A(disc(64, 20.0)))
    assert found[0, 22:42, 22:42].mean() == pytest.approx(1, abs=5e-3)
    assert found[0, :4].abs().max() <= 0.05


def test_number_of_angles_means_even_steps_over_half_a_turn():
    op = Tomography((1, 8, 8), 4)
    assert torch.allclose(op.theta, torch.arange(4) * math.pi / 4 + torch.zeros(4).double())
    assert op.measurement_size == (1, 4, op.bins)
    given = Tomography((1, 8, 8), op.theta)
    x = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(op.A(x), given.A(x))


def test_opposite_views_are_mirror_images(generator):
    x = torch.rand(1, 7, 10, generator=generator, dtype=torch.float64)
    theta = torch.tensor([0.4, 0.4 + math.pi], dtype=torch.float64)
    there, back = Tomography((1, 7, 10), theta, dtype=torch.float64).A(x)[0]
    assert torch.allclose(there, back.flip(0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (5, 12)])
def test_the_bins_cover_the_diagonal(size):
    """No corner falls off the detector, at any angle."""
    theta = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    op = Tomography((1, *size), theta, dtype=torch.float64)
    seen = op.A(torch.ones(1, *size, dtype=torch.float64)).sum(-1)
    assert torch.allclose(seen, torch.full_like(seen, size[0] * size[1]), rtol=1e-13, atol=0)
