"""Is it the right convolution? The adjoint identity cannot tell; an impulse can."""

import math

import pytest
import torch

from course_lib.operators import Blur, BlurEach, gaussian_kernel, motion_kernel


@pytest.mark.parametrize(("h", "w"), [(3, 5), (1, 1), (4, 2), (2, 7), (9, 8)])
@pytest.mark.parametrize("at", [(0, 0), (4, 6), (8, 7)])
def test_an_impulse_returns_the_kernel_around_it(h, w, at, generator):
    """Tap (a, b) of the kernel lands (a - h//2, b - w//2) away from the impulse, periodically."""
    kernel = torch.rand(1, 1, h, w, generator=generator, dtype=torch.float64)
    impulse = torch.zeros(1, 9, 8, dtype=torch.float64)
    impulse[0, at[0], at[1]] = 1
    expected = torch.zeros(9, 8, dtype=torch.float64)
    for a in range(h):
        for b in range(w):
            expected[(at[0] + a - h // 2) % 9, (at[1] + b - w // 2) % 8] += kernel[0, 0, a, b]
    blurred = Blur(kernel, (1, 9, 8)).A(impulse)[0]
    assert torch.allclose(blurred, expected, rtol=0, atol=1e-14)  # rounding of two FFTs


@pytest.mark.parametrize(("h", "w"), [(3, 5), (4, 2)])
def test_convolution_and_not_correlation(h, w, generator):
    """(k * u)(p) = sum over q of k(q) u(p - q), with a kernel that no symmetry saves."""
    kernel = torch.rand(1, 1, h, w, generator=generator, dtype=torch.float64)
    u = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64)
    expected = sum(
        kernel[0, 0, a, b] * u.roll((a - h // 2, b - w // 2), (-2, -1))  # u(p - q)
        for a in range(h)
        for b in range(w)
    )
    assert torch.allclose(Blur(kernel, (2, 7, 6)).A(u), expected, rtol=0, atol=1e-14)


def test_constants_are_preserved():
    op = Blur(gaussian_kernel(1.3, dtype=torch.float64), (1, 16, 15))
    grey = torch.full((1, 16, 15), 0.4, dtype=torch.float64)
    assert torch.allclose(op.A(grey), grey, rtol=0, atol=1e-15)
    assert op.norm() == pytest.approx(1, abs=1e-15)  # k >= 0 and sum k = 1 imply |k^| <= 1


def test_blurs_compose_and_commute(generator):
    size = (1, 20, 17)
    gauss = Blur(gaussian_kernel(1.0, dtype=torch.float64), size)
    motion = Blur(motion_kernel(5.0, 0.4, dtype=torch.float64), size)
    u = torch.rand(size, generator=generator, dtype=torch.float64)
    assert torch.allclose(gauss.A(motion.A(u)), motion.A(gauss.A(u)), rtol=0, atol=1e-14)


def test_error_of_the_naive_inverse_is_as_predicted(generator):
    """Dividing by k^ turns white noise into an error of std sigma sqrt(mean 1 / |k^|^2)."""
    sigma, n = 0.01, 32
    f = torch.fft.fftfreq(n, dtype=torch.float64)
    symbol = torch.exp(-2 * (math.pi * 0.6) ** 2 * (f[:, None] ** 2 + f**2))  # std 0.6 pixels
    kernel = torch.fft.fftshift(torch.fft.ifft2(symbol).real)[None, None]
    predicted = sigma * symbol.pow(-2).mean().sqrt()
    assert predicted == pytest.approx(0.06128, abs=5e-6)  # its four digits
    noise = sigma * torch.randn(400, 1, n, n, generator=generator, dtype=torch.float64)
    measured = Blur(kernel, (1, n, n)).A_dagger(noise).std()
    # A few dozen frequencies carry the error: 400 images know its std to about 0.5 %.
    assert measured == pytest.approx(predicted.item(), rel=0.015)


def test_gradient_with_respect_to_the_kernel(generator):
    """A new kernel is a new operator, so blind deconvolution is no special case."""
    u = torch.rand(2, 1, 8, 7, generator=generator, dtype=torch.float64)
    kernel = torch.rand(1, 1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: Blur(k, (1, 8, 7)).A(u), kernel)


def test_unseen_frequencies_stay_empty():
    """A two-pixel mean kills the fastest oscillation; A+ returns 0 there and never NaN."""
    op = Blur(torch.full((1, 1, 1, 2), 0.5), (1, 4, 6))
    stripes = torch.tensor([1.0, -1.0]).repeat(3).expand(1, 4, 6)
    assert torch.equal(op.A_dagger(stripes), torch.zeros(1, 4, 6))


def test_a_kernel_for_each_image_is_a_blur_for_each_image(generator):
    """Every method of the batch agrees with a loop of operators; 1e-14 is rounding of the FFTs."""
    kernels = torch.rand(3, 1, 3, 5, generator=generator, dtype=torch.float64) / 15
    x, y = torch.rand(2, 3, 2, 8, 7, generator=generator, dtype=torch.float64)
    each = BlurEach(kernels, (2, 8, 7))
    loop = [Blur(kernel[None], (2, 8, 7)) for kernel in kernels]

    def agree(batch, rows):
        assert torch.allclose(batch, torch.stack(list(rows)), rtol=1e-13, atol=1e-14)

    agree(each.A(x), (op.A(u) for op, u in zip(loop, x, strict=True)))
    agree(each.A_adjoint(y), (op.A_adjoint(v) for op, v in zip(loop, y, strict=True)))
    agree(
        each.prox_l2(x, y, 3.0),
        (op.prox_l2(u, v, 3.0) for op, u, v in zip(loop, x, y, strict=True)),
    )
    assert each.norm() == pytest.approx(max(op.norm() for op in loop), rel=1e-14)


def test_kernels_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"BlurEach: the kernel \(9 x 3\) is larger than the image"
    ):
        BlurEach(torch.ones(2, 1, 9, 3), (1, 8, 9))
    with pytest.raises(ValueError, match="NaN"):
        BlurEach(torch.full((2, 1, 3, 3), float("nan")), (1, 8, 9))
