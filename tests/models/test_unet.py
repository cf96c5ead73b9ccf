"""Sizes, the start at zero, what a pixel sees, and shifts by the stride."""

import pytest
import torch

from course_lib.models.unet import ResidualUNet, receptive_field
from course_lib.rng import generator_from
from tests.helpers import assert_batch_independent


def trained(*, channels=(4, 6), blocks=1, **options):
    """Small, in float64, with weights in the last layer too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResidualUNet(channels=channels, blocks=blocks, **options)
        for parameter in network.outlet.parameters():
            torch.nn.init.normal_(parameter)
    return network.double()


def draw(*shape):
    return torch.rand(*shape, generator=generator_from(0), dtype=torch.float64)


def test_it_is_zero_before_training():
    assert not ResidualUNet(3, 2)(torch.rand(2, 3, 16, 24)).any()


@pytest.mark.parametrize("size", [(8, 12), (9, 13), (1, 1), (5, 40), (3, 2)])
def test_any_size_comes_out_as_it_went_in(size):
    network = trained(inputs=3, outputs=2)
    assert network(draw(2, 3, *size)).shape == (2, 2, *size)


def test_a_side_that_does_not_divide_is_continued_by_reflection():
    network, x = trained(), draw(1, 1, 10, 9)
    larger = torch.nn.functional.pad(x, (0, 3, 0, 2), mode="reflect")
    assert torch.equal(network(x), network(larger)[..., :10, :9])


def test_images_do_not_mix():
    assert_batch_independent(trained(), draw(3, 1, 8, 8), rtol=1e-10)


def test_a_shift_by_the_stride_shifts_the_inside():
    """Beyond the reach of the border: circular shifts of a picture that is flat around."""
    network, x = trained(), torch.full((1, 1, 128, 128), 0.3).double()
    x[..., 60:68, 60:68] = draw(1, 1, 8, 8)
    shifted = network(x.roll((4, -4), (-2, -1)))
    inside = (..., slice(44, 84), slice(44, 84))  # the field is 69 pixels wide
    # the same sums in the same order, but for the vector lanes of the convolutions
    expected = network(x).roll((4, -4), (-2, -1))[inside]
    torch.testing.assert_close(shifted[inside], expected, rtol=0, atol=1e-12)


def test_what_a_pixel_sees():
    """No stage: an inlet, a block of two and an outlet of 3 x 3 make 9; each stage sees farther."""
    assert receptive_field(torch.nn.Conv2d(1, 1, 5, padding=2)) == 5
    one, two = (receptive_field(trained(channels=c).float()) for c in ((4,), (4, 4)))
    assert 9 < one < two < 128
    with pytest.raises(ValueError, match="the field is empty or not inside 16 x 16 pixels"):
        receptive_field(trained(channels=(4, 4)).float(), 16)
    with pytest.raises(ValueError, match="the field is empty"):
        receptive_field(ResidualUNet(channels=(4,)))


def test_a_photograph_is_learned_by_heart():
    """Steps of Adam bring the error of a mapping of one picture to a fiftieth of its variance."""
    network, x = trained(channels=(8,)), draw(1, 1, 16, 16)
    target = x.roll(1, -1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    errors = []
    for _ in range(300):
        optimiser.zero_grad()
        error = (network(x) - target).square().mean()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < target.var().item() / 50
