"""Blur with mirrored borders: a seam in neither direction, and the plane's semigroup."""

import torch

from course_lib.operators import Blur, MirroredBlur, gaussian_kernel, mirror


def test_mirror_continues_the_image(generator):
    x = torch.rand(2, 3, 4, 5, generator=generator)
    whole = mirror(x)
    assert whole.shape == (2, 3, 8, 10)
    assert torch.equal(whole[..., :4, :5], x)
    assert torch.equal(whole.flip(-1), whole)
    assert torch.equal(whole.flip(-2), whole)


def test_a_blurred_mirror_image_is_a_mirror_image(generator):
    x = torch.rand(2, 1, 9, 8, generator=generator, dtype=torch.float64)
    kernel = gaussian_kernel(1.2, dtype=torch.float64)
    whole = Blur(kernel, (1, 18, 16)).A(mirror(x))
    found = mirror(MirroredBlur(kernel, (1, 9, 8)).A(x))
    torch.testing.assert_close(whole, found, rtol=0, atol=1e-12)


def test_a_ramp_keeps_its_dark_end(generator):
    """Periodic blur mixes the bright border into the dark one; mirrored blur does not."""
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    kernel = gaussian_kernel(1.2, dtype=torch.float64)
    assert (Blur(kernel, (1, 16, 16)).A(ramp)[..., 0] > 0.1).all()
    assert (MirroredBlur(kernel, (1, 16, 16)).A(ramp)[..., 0] < 0.1).all()


def test_an_impulse_far_from_the_border_returns_the_kernel():
    kernel = torch.rand(1, 1, 3, 5, generator=torch.Generator().manual_seed(1)).double()
    impulse = torch.zeros(1, 1, 12, 14, dtype=torch.float64)
    impulse[..., 6, 7] = 1
    found = MirroredBlur(kernel, (1, 12, 14)).A(impulse)
    torch.testing.assert_close(found[..., 5:8, 5:10], kernel, rtol=0, atol=1e-14)


def test_kernels_larger_than_the_mirrored_image_are_wrapped(generator):
    x = torch.rand(1, 1, 5, 6, generator=generator, dtype=torch.float64)
    found = MirroredBlur(gaussian_kernel(9.0, dtype=torch.float64), (1, 5, 6)).A(x)
    # A Gaussian nearly as wide as the period leaves the mean alone.
    torch.testing.assert_close(found, x.mean().expand_as(found), rtol=0, atol=1e-3)
