"""Random measurements: the laws they are drawn from, and the fast transforms."""

import math

import pytest
import scipy.linalg
import torch

from course_lib.operators import CompressedSensing
from course_lib.operators.compressed_sensing import hadamard_transform, hartley_transform


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rows", ["gaussian", "fourier", "hadamard"])
def test_energy_law(rows, generator):
    """E|A x|^2 = |x|^2 for Gaussian rows, m / n |x|^2 when m of n orthonormal rows are drawn."""
    size, m, trials = (1, 8, 8), 16, 400
    x = torch.rand(size, generator=generator, dtype=torch.float64)
    energies = torch.stack(
        [
            CompressedSensing(m, size, seeded(seed), rows, dtype=torch.float64).A(x).square().sum()
            for seed in range(trials)
        ]
    )
    expected = x.square().sum() * (1 if rows == "gaussian" else m / 64)
    # |A x|^2 / |x|^2 is chi^2_m / m, of std sqrt(2 / m) = 0.35: its mean over the trials is
    # known to 0.35 / 20; four of those.
    assert energies.mean() == pytest.approx(expected.item(), rel=4 * math.sqrt(2 / m / trials))


def test_gaussian_entries_have_variance_one_over_m():
    matrix = CompressedSensing(200, (1, 40, 50), seeded(0), dtype=torch.float64).matrix
    # 4e5 draws: a mean to 1.6e-3 std, a variance to 2.2e-3; four of those
    assert matrix.mean().abs() <= 4 * 1.6e-3 / math.sqrt(200)
    assert matrix.var() == pytest.approx(1 / 200, rel=4 * 2.2e-3)


def test_norm_of_gaussian_rows_follows_marchenko_pastur():
    """|A|^2 -> (1 + sqrt(n / m))^2, which is 9 for n = 4 m."""
    op = CompressedSensing(256, (1, 32, 32), seeded(0), dtype=torch.float64)
    assert op.norm() ** 2 == pytest.approx(
        9, rel=0.05
    )  # finite size: below the limit by ~ m^(-2/3)


@pytest.mark.parametrize("n", [1, 2, 16, 64])
def test_hadamard_against_scipy(n):
    fast = hadamard_transform(torch.eye(n, dtype=torch.float64))
    slow = torch.from_numpy(scipy.linalg.hadamard(n)).double() / math.sqrt(n)
    assert torch.allclose(fast, slow, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 6), (7, 3)])
def test_hartley_is_orthonormal_and_its_own_inverse(size, generator):
    x = torch.rand(3, 2, *size, generator=generator, dtype=torch.float64)
    assert torch.allclose(hartley_transform(hartley_transform(x)), x, rtol=0, atol=1e-14)
    rows = [2 * math.pi * torch.outer(torch.arange(n), torch.arange(n)).double() / n for n in size]
    phase = rows[0][:, None, :, None] + rows[1][None, :, None, :]
    cas = (phase.cos() + phase.sin()) / math.sqrt(math.prod(size))  # cas = cos + sin
    assert torch.allclose(hartley_transform(x), torch.einsum("ijkl,bckl->bcij", cas, x), atol=1e-13)


@pytest.mark.parametrize("rows", ["fourier", "hadamard"])
def test_all_coefficients_determine_the_image(rows, generator):
    op = CompressedSensing(64, (1, 8, 8), generator, rows, dtype=torch.float64)
    x = torch.rand(2, 1, 8, 8, generator=generator, dtype=torch.float64)
    assert torch.allclose(op.A_dagger(op.A(x)), x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rows", ["gaussian", "fourier", "hadamard"])
def test_the_rows_depend_on_the_generator_alone(rows):
    x = torch.arange(64.0).reshape(1, 8, 8)

    def measure(seed):
        return CompressedSensing(10, (1, 8, 8), seeded(seed), rows).A(x)

    assert torch.equal(measure(3), measure(3))
    assert not torch.equal(measure(3), measure(4))


def test_rows_are_drawn_at_construction():
    """Drawing from the generator in between must not change an operator that exists already."""
    generator = seeded(0)
    op = CompressedSensing(5, (1, 4, 4), generator)
    torch.rand(100, generator=generator)
    again = CompressedSensing(5, (1, 4, 4), seeded(0))
    assert torch.equal(op.matrix, again.matrix)


@pytest.mark.parametrize("rows", ["fourier", "hadamard"])
def test_random_signs_spread_a_constant_image(rows):
    """Without the signs one coefficient would hold everything and the others nothing."""
    op = CompressedSensing(32, (1, 8, 8), seeded(0), rows, dtype=torch.float64)
    y = op.A(torch.ones(1, 8, 8, dtype=torch.float64))
    assert y.square().max() <= 0.5 * y.square().sum()


@pytest.mark.parametrize("rows", ["fourier", "hadamard"])
def test_half_of_the_coefficients_tell_all_pixels_apart(rows):
    """Coherence of the columns below 1; the first m rows would merge pairs of pixels."""
    op = CompressedSensing(32, (1, 8, 8), seeded(0), rows, dtype=torch.float64)
    columns = op.A(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8))
    columns = columns / columns.norm(dim=1, keepdim=True)
    coherence = (columns @ columns.T - torch.eye(64, dtype=torch.float64)).abs().max()
    assert coherence <= 0.9


def test_fast_rows_scale_beyond_a_matrix():
    """A 512 x 512 image and 50,000 measurements: the matrix would hold 100 GB."""
    op = CompressedSensing(50_000, (1, 512, 512), seeded(0), "fourier")
    y = op.A(torch.ones(1, 512, 512))
    assert torch.allclose(op.A(op.A_dagger(y)), y, atol=1e-4)  # single precision
