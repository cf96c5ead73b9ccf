"""Groups of latents: their notation, and posteriors relative to priors."""

import pytest
import torch
from torch.distributions import Normal

from course_lib.models.top_down import normal, parse_blocks, relative

FFHQ256 = {
    "enc_blocks": "256x3,256d2,128x8,128d2,64x12,64d2,32x17,32d2,16x7,16d2,8x5,8d2,4x5,4d4,1x4",
    "dec_blocks": "1x2,4m1,4x3,8m4,8x4,16m8,16x9,32m16,32x21,64m32,64x13,128m64,128x7,256m128",
}


def test_reads_the_published_strings():
    """66 groups, 4,470,816 latents, and k = 21, 43, 57 groups up to 16, 32, 64 pixels."""
    stages = parse_blocks(FFHQ256["dec_blocks"])
    sides = [side for side, _ in stages]
    assert len(sides) == 66
    assert 16 * sum(side**2 for side in sides) == 4_470_816
    assert [sum(s <= side for s in sides) for side in (1, 4, 8, 16, 32, 64, 128)] == [
        2, 6, 11, 21, 43, 57, 65,
    ]  # fmt: skip
    assert [side for side, mixin in stages if mixin] == [4, 8, 16, 32, 64, 128, 256]
    assert len(parse_blocks(FFHQ256["enc_blocks"])) == 68


@pytest.mark.parametrize("word", ["4y3", "m4", "4m", "", "x"])
def test_refuses_words_of_another_form(word):
    with pytest.raises(ValueError, match="expected words such as"):
        parse_blocks(f"1x2,{word}")


def test_a_relative_posterior_is_the_prior_at_zero(generator):
    """Mean and log standard deviation are added to the prior's; zeros give the prior itself."""
    prior = Normal(torch.randn(2, 3, generator=generator), torch.tensor([0.5, 1.0, 2.0]))
    same = relative(torch.zeros(2, 3), torch.zeros(2, 3), prior)
    torch.testing.assert_close(same.mean, prior.mean)
    torch.testing.assert_close(same.stddev, prior.stddev)
    moved = relative(torch.full((2, 3), 0.3), torch.full((2, 3), 0.7), prior)
    torch.testing.assert_close(moved.mean, prior.mean + 0.3)
    torch.testing.assert_close(moved.stddev.log(), prior.stddev.log() + 0.7)


def test_log_deviations_are_bounded_on_demand():
    log_std = torch.tensor([-50.0, 0.5, 50.0])
    found = normal(torch.zeros(3), log_std).stddev.log()
    torch.testing.assert_close(found, torch.tensor([-6.0, 0.5, 2.0]))
    free = normal(torch.zeros(3), log_std, bounded=False).stddev.log()
    torch.testing.assert_close(free, log_std)
