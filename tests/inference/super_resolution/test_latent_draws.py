"""Draws of the latents of an encoder, in the linear world."""

import torch

from course_lib.inference.super_resolution import draw_latents
from course_lib.rng import generator_from


def test_draws_have_the_moments_of_the_encoder(linear):
    """In the linear world: mean and standard deviation of the first group, over 4000 draws."""
    hvae, encoder = linear.hvae, linear.encoder(2)
    y = torch.randn(1, 1, 4, 4, generator=generator_from(4), dtype=torch.float64)
    told = draw_latents(hvae, encoder, y.expand(4000, -1, -1, -1), generator=generator_from(0))
    assert [z.shape[0] for z in told] == [4000, 4000]
    features = encoder.features(y)
    state, prior = None, None

    def look(index, maps, p):
        nonlocal state, prior
        state, prior = maps, p
        return told[0][:1]

    hvae.decoder.descend(look, 1, stop=1)
    q = encoder.posterior(0, state, features, prior)
    # The standard error of a mean of 4000 is std / 63; of a standard deviation, std / 89.
    torch.testing.assert_close(told[0].mean(0), q.mean[0], rtol=0, atol=5 * q.stddev.max() / 63)
    torch.testing.assert_close(told[0].std(0), q.stddev[0], rtol=5 / 89, atol=0)
