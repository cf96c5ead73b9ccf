"""The half-spectrum conventions, and the periodic gradient."""

import math

import pytest
import torch

from course_lib.finite_differences import gradient, gradient_adjoint, laplacian, laplacian_symbol
from course_lib.fourier import (
    filter_image,
    frequencies,
    half_spectrum_weights,
    leave_one_out_spectrum,
    pad_and_centre,
    radial_mean,
    spectral_mean,
    squared_modulus,
)

EPS = torch.finfo(torch.float64).eps
SIZES = pytest.mark.parametrize("size", [(8, 6), (7, 5), (6, 7), (5, 8), (1, 1), (1, 4), (3, 2)])


def image(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@SIZES
def test_parseval_on_the_half_spectrum(size, generator):
    u = image(generator, *size)
    power = half_spectrum_weights(size) * squared_modulus(torch.fft.rfft2(u))
    energy = power.sum() / math.prod(size)
    assert energy == pytest.approx(u.square().sum().item(), rel=1e-14)
    assert half_spectrum_weights(size).sum() * size[0] == math.prod(size)


@SIZES
def test_spectral_mean_is_the_mean_over_the_full_grid(size, generator):
    u = image(generator, 2, *size)
    full = torch.fft.fft2(u).abs().square().mean((-2, -1))
    half = spectral_mean(squared_modulus(torch.fft.rfft2(u)), size)
    assert torch.allclose(half, full, rtol=1e-13)


@pytest.mark.parametrize("size", [(8, 7), (7, 5), (6, 9), (16, 16)])
def test_radial_mean_against_a_loop_over_the_full_grid(size, generator):
    u = image(generator, *size)
    power = torch.fft.fft2(u).abs().square()
    rings = [[] for _ in range(min(size) // 2 + 1)]
    for i, f in enumerate(torch.fft.fftfreq(size[0]).tolist()):
        for j, g in enumerate(torch.fft.fftfreq(size[1]).tolist()):
            ring = round(math.hypot(f, g) * min(size))
            if ring < len(rings):
                rings[ring].append(power[i, j])
    radii, means = radial_mean(squared_modulus(torch.fft.rfft2(u)), size)
    expected = torch.stack([torch.stack(ring).mean() for ring in rings[1:]])
    assert torch.allclose(means, expected, rtol=1e-6)  # float32 frequencies in this loop
    assert torch.allclose(radii * min(size), torch.arange(1, len(rings)).double())


@SIZES
def test_frequencies_are_those_of_rfft2(size):
    rows, columns = frequencies(size)
    assert rows.shape == (size[0], 1)
    assert columns.shape == (1, size[1] // 2 + 1)
    wave = torch.zeros(size, dtype=torch.float64)
    wave[0, 0] = 1
    shifted = torch.fft.rfft2(wave.roll((1, 1), (0, 1)))
    assert torch.allclose(shifted, torch.exp(-2j * math.pi * (rows + columns)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (4, 2), (3, 6)])
def test_pad_and_centre_puts_the_centre_at_the_origin(kernel, generator):
    k = image(generator, 2, 1, *kernel)
    padded = pad_and_centre(k, (5, 6))
    assert padded.shape == (2, 1, 5, 6)
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            at = (a - kernel[0] // 2) % 5, (b - kernel[1] // 2) % 6
            assert torch.equal(padded[..., at[0], at[1]], k[..., a, b])
    assert padded.sum() == pytest.approx(k.sum().item())


@SIZES
def test_filtering_with_one_changes_nothing(size, generator):
    u = image(generator, 2, 3, *size)
    half = torch.ones(size[0], size[1] // 2 + 1, dtype=torch.float64)
    assert torch.allclose(filter_image(u, half), u, rtol=0, atol=1e-14)
    assert filter_image(u.float(), half).dtype == torch.float32


def test_squared_modulus(generator):
    z = torch.complex(image(generator, 4, 5), image(generator, 4, 5))
    assert torch.allclose(squared_modulus(z), z.abs() ** 2, rtol=1e-14)
    assert torch.equal(squared_modulus(z.real), z.real**2)


@SIZES
def test_gradient_and_its_adjoint(size, generator):
    """<grad u, p> = <u, grad^T p>, exactly up to rounding; the divergence is its negative."""
    u, p = image(generator, 3, 2, *size), image(generator, 2, 3, 2, *size)
    gap = (gradient(u) * p).sum() - (u * gradient_adjoint(p)).sum()
    assert gap.abs() <= 10 * EPS * (gradient(u).norm() + u.norm()) * p.norm()


def test_gradient_is_a_forward_difference():
    u = torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    down, right = gradient(u)
    assert torch.equal(down, torch.tensor([[2.0, 1.0, -3.0], [-2.0, -1.0, 3.0]]))
    assert torch.equal(right, torch.tensor([[1.0, 4.0, -5.0], [0.0, 0.0, 0.0]]))


@SIZES
def test_laplacian_is_minus_adjoint_times_gradient(size, generator):
    u = image(generator, 3, 2, *size)
    assert torch.allclose(laplacian(u), -gradient_adjoint(gradient(u)), rtol=0, atol=1e-14)


@SIZES
def test_symbol_is_the_transform_of_an_impulse_response(size):
    """Of minus the Laplacian: a multiplier and not a kernel (erratum E26)."""
    impulse = torch.zeros(size, dtype=torch.float64)
    impulse[0, 0] = 1
    response = torch.fft.rfft2(-laplacian(impulse))
    assert torch.allclose(response.real, laplacian_symbol(size), rtol=0, atol=1e-14)
    assert response.imag.abs().max() <= 1e-14


def test_symbol_is_zero_at_frequency_zero_alone_and_eight_on_even_grids():
    for size, largest in (((8, 6), 8.0), ((7, 6), 7.802)):
        symbol = laplacian_symbol(size)
        assert symbol[0, 0] == 0
        assert (symbol.flatten()[1:] > 0).all()
        assert symbol.max() == pytest.approx(largest, abs=5e-4)


def test_symbol_of_a_sine(generator):
    """A wave of frequency f is an eigenvector with eigenvalue 4 sin^2(pi f)."""
    wave = (2 * math.pi * 3 / 16 * torch.arange(16, dtype=torch.float64)).cos().expand(4, 16)
    eigenvalue = 4 * math.sin(math.pi * 3 / 16) ** 2
    assert torch.allclose(-laplacian(wave), eigenvalue * wave, rtol=0, atol=1e-14)
    assert laplacian_symbol((4, 16))[0, 3] == pytest.approx(eigenvalue, rel=1e-14)


def test_leave_one_out_spectrum_is_that_of_the_other_images(generator):
    x = torch.rand(3, 2, 6, 5, generator=generator, dtype=torch.float64)
    found = leave_one_out_spectrum(x)
    for i in range(3):
        others = torch.cat([x[:i], x[i + 1 :]])
        others = others - others.mean((2, 3), keepdim=True)
        expected = torch.fft.rfft2(others).abs().square().mean((0, 1))
        assert found[i, 0, 0, 0] == pytest.approx(1e-6 * mean_power(x))  # without the means
        torch.testing.assert_close(found[i, 0].flatten()[1:], expected.flatten()[1:])


def mean_power(x):
    """Mean of the spectra of all others, over images and the half grid."""
    centred = x - x.mean((2, 3), keepdim=True)
    return torch.fft.rfft2(centred).abs().square().mean().item()
