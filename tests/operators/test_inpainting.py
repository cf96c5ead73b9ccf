"""Lost pixels."""

import torch

from course_lib.operators import GaussianNoise, Inpainting, PoissonNoise, central_hole


def test_seen_pixels_are_untouched_and_lost_ones_zero(generator):
    mask = torch.rand(2, 5, 6, generator=generator) < 0.5
    u = torch.rand(3, 2, 5, 6, generator=generator, dtype=torch.float64)
    y = Inpainting(mask).A(u)
    assert torch.equal(y[:, mask], u[:, mask])
    assert (y[:, ~mask] == 0).all()


def test_it_is_its_own_adjoint_square_and_pseudo_inverse(generator):
    """A = A^T = A^2 = A+, exactly: no arithmetic is involved."""
    op = Inpainting(torch.rand(1, 5, 6, generator=generator) < 0.5)
    u = torch.rand(3, 1, 5, 6, generator=generator)
    y = op.A(u)
    assert torch.equal(op.A(y), y)
    assert torch.equal(op.A_adjoint(u), y)
    assert torch.equal(op.A_dagger(u), y)
    assert op.norm() == 1


def test_boolean_integer_and_float_masks_agree(generator):
    mask = torch.rand(1, 5, 6, generator=generator) < 0.5
    u = torch.rand(1, 5, 6, generator=generator)
    for same in (mask.float(), mask.long(), mask.double()):
        assert torch.equal(Inpainting(same).A(u), Inpainting(mask).A(u))
        assert Inpainting(same).A(u).dtype == torch.float32


def test_noise_falls_on_the_seen_pixels_only(generator):
    mask = torch.rand(1, 40, 50, generator=generator) < 0.5
    op = Inpainting(mask, GaussianNoise(0.1))
    noise = op(torch.zeros(20, 1, 40, 50), generator=generator)
    assert (noise[:, ~mask] == 0).all()
    # 20,000 draws: the standard deviation is known to 0.5 %, five of those allowed
    assert abs(noise[:, mask].std() - 0.1) <= 0.025 * 0.1
    assert (
        Inpainting(mask, PoissonNoise(0.1))(torch.ones(1, 40, 50), generator=generator)[~mask] == 0
    ).all()


def test_a_black_pixel_stays_a_measurement():
    """The mask says what was seen; testing y != 0 would lose true black."""
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    op = Inpainting(mask)
    black = torch.zeros(1, 2, 2)
    assert torch.equal(op.prox_l2(torch.ones(1, 2, 2), black, 3.0), torch.full((1, 2, 2), 0.25))


def test_central_hole(generator):
    """24 x 24 pixels in the middle are lost, all others are seen as they are."""
    op, x = central_hole((1, 64, 64), 24), torch.rand(6, 1, 64, 64, generator=generator)
    lost = op.A(torch.ones(1, 1, 64, 64)) == 0
    assert lost.sum() == 24**2
    assert lost[..., 20:44, 20:44].all()
    assert torch.equal(op.A(x)[~lost.expand_as(x)], x[~lost.expand_as(x)])
    assert op.noise_model is None
