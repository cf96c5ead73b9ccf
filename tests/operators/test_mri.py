"""Magnetic resonance imaging: Fourier coefficients, coils and what a real image adds."""

import pytest
import torch

from course_lib.operators import MRI, GaussianNoise, cartesian_mask


def test_full_sampling_is_the_centred_unitary_transform(generator):
    x = torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64)
    y = MRI(torch.ones(6, 7), (2, 6, 7)).A(x)
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.complex(x[:, 0], x[:, 1])), dim=(-2, -1))
    expected = torch.stack((spectrum.real, spectrum.imag), 1) / 42**0.5
    assert torch.allclose(y, expected, rtol=0, atol=1e-14)
    assert y.norm() == pytest.approx(x.norm().item(), rel=1e-14)  # Parseval: unitary


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_frequency_zero_lies_in_the_centre(size):
    """A constant image has one coefficient, at (H // 2, W // 2), of size sqrt(H W)."""
    y = MRI(torch.ones(size), (1, *size)).A(torch.ones(1, *size, dtype=torch.float64))
    expected = torch.zeros(2, *size, dtype=torch.float64)
    expected[0, size[0] // 2, size[1] // 2] = (size[0] * size[1]) ** 0.5
    assert torch.allclose(y, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_unsampled_coefficients_are_zero_and_the_others_kept(size, generator):
    mask = torch.rand(size, generator=generator) < 0.5
    x = torch.randn(1, *size, generator=generator, dtype=torch.float64)
    full, y = MRI(torch.ones(size), (1, *size)).A(x), MRI(mask, (1, *size)).A(x)
    assert torch.equal(y, torch.where(mask, full, 0))


def test_coils_weigh_the_image_before_the_transform(generator):
    maps = torch.randn(3, 6, 7, generator=generator, dtype=torch.complex128)
    mask = torch.rand(6, 7, generator=generator) < 0.5
    x = torch.randn(4, 2, 6, 7, generator=generator, dtype=torch.float64)
    y = MRI(mask, (2, 6, 7), maps).A(x)
    assert y.shape == (4, 2, 3, 6, 7)
    single = MRI(mask, (2, 6, 7))
    for coil in range(3):
        weighted = maps[coil] * torch.complex(x[:, 0], x[:, 1])
        parts = torch.stack((weighted.real, weighted.imag), 1)
        assert torch.allclose(y[:, :, coil], single.A(parts), rtol=0, atol=1e-14)


def test_one_ideal_coil_as_a_map_changes_only_the_shape(generator):
    x = torch.randn(1, 6, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(6, 7, generator=generator) < 0.5
    flat = MRI(mask, (1, 6, 7), torch.ones(1, 6, 7, dtype=torch.complex128))
    assert torch.allclose(flat.A(x)[:, 0], MRI(mask, (1, 6, 7)).A(x), rtol=0, atol=1e-15)


def test_norm_is_bounded_by_the_coils(generator):
    """|A| <= max over pixels of sqrt(sum |d|^2), attained under full sampling."""
    maps = torch.randn(3, 6, 7, generator=generator, dtype=torch.complex128)
    bound = maps.abs().square().sum(0).max().sqrt().item()
    full = MRI(torch.ones(6, 7), (2, 6, 7), maps).norm()
    assert full == pytest.approx(bound, rel=1e-5)  # tolerance of the power method
    part = MRI(torch.rand(6, 7, generator=generator) < 0.5, (2, 6, 7), maps).norm()
    assert part <= bound * (1 + 1e-12)


def test_a_real_image_is_known_from_half_its_frequencies(generator):
    """Each coefficient of a real image tells its negative: half of k-space is enough."""
    mask = torch.zeros(7, 9)
    mask[:4] = 1  # 4 of 7 rows: every frequency or its negative
    x = torch.randn(2, 1, 7, 9, generator=generator, dtype=torch.float64)
    real, complex_ = MRI(mask, (1, 7, 9)), MRI(mask, (2, 7, 9))
    assert torch.allclose(real.A_dagger(real.A(x)), x, rtol=0, atol=1e-13)
    assert complex_.symbol.sum() == 36  # a complex image stays unknown at the other 27


def test_symbol_of_real_images_is_the_mean_over_plus_and_minus(generator):
    op = MRI(torch.rand(6, 8, generator=generator) < 0.4, (1, 6, 8))
    assert set(op.symbol.unique().tolist()) == {0, 0.5, 1}
    x = torch.randn(1, 6, 8, generator=generator, dtype=torch.float64)
    filtered = torch.fft.ifft2(op.symbol * torch.fft.fft2(x)).real
    assert torch.allclose(op.A_adjoint(op.A(x)), filtered, rtol=0, atol=1e-14)


def test_many_coils_fill_the_gaps(generator):
    """Three coils and half the columns: the least-squares image is the true one."""
    mask = torch.zeros(8, 8)
    mask[:, ::2] = 1
    maps = torch.randn(3, 8, 8, generator=generator, dtype=torch.complex128)
    op = MRI(mask, (2, 8, 8), maps)
    x = torch.randn(2, 2, 8, 8, generator=generator, dtype=torch.float64)
    assert torch.allclose(op.A_dagger(op.A(x)), x, rtol=0, atol=1e-8)  # 1e-12 times condition


def test_cartesian_mask_keeps_whole_columns_and_the_centre(generator):
    mask = cartesian_mask((64, 200), 4.0, generator)
    assert mask.shape == (64, 200)
    assert torch.equal(mask, mask[:1].expand(64, -1))
    assert (mask[:, 92:109] == 1).all()  # |column - 100| <= 0.08 * 200 / 2
    again = [cartesian_mask((1, 200), 4.0, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*again)


def test_cartesian_mask_keeps_a_share_of_one_over_the_acceleration(generator):
    masks = torch.stack([cartesian_mask((1, 200), 4.0, generator)[0] for _ in range(200)])
    share = masks.mean()
    # 183 random columns of chance 0.18: std of one mean 0.026, of the average 0.002; four of those
    assert share == pytest.approx(0.25, abs=0.008)
    # A random column is in all 200 masks with a chance of 0.18^200; the centre always is.
    assert masks.all(0).nonzero().flatten().tolist() == list(range(92, 109))


def test_acceleration_one_samples_everything(generator):
    assert cartesian_mask((4, 33), 1.0, generator).all()


def test_noise_only_where_something_was_sampled(generator):
    mask = (torch.rand(8, 6, generator=generator) < 0.4).float()
    y = MRI(mask, (1, 8, 6), noise_model=GaussianNoise(0.1))(
        torch.rand(2, 1, 8, 6, generator=generator), generator=generator
    )
    assert (y[..., mask == 0] == 0).all()
    assert (y[..., mask == 1] != 0).all()


def test_an_impossible_acceleration_is_refused(generator):
    with pytest.raises(ValueError, match="the centre alone keeps"):
        cartesian_mask((16, 128), 30, generator)
