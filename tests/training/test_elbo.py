"""Objectives of variational autoencoders against their formulas."""

import torch

from course_lib.models import linear_vae
from course_lib.rng import generator_from
from course_lib.training import UnscaledElbo


def test_unscaled_elbo_is_an_error_a_pixel_plus_a_rate_an_image(generator):
    """Mean square error + beta KL, without a noise level: the loss of erratum E42."""
    torch.manual_seed(0)
    vae = linear_vae(latent_dim=2, img_size=(1, 2, 3)).double()
    x = torch.rand(4, 1, 2, 3, generator=generator, dtype=torch.float64)
    q = vae.encode(x)
    eps = torch.randn(q.mean.shape, generator=generator_from(1), dtype=torch.float64)
    error = (vae.decode(q.mean + q.stddev * eps).mean - x).square().mean()
    nats = (q.mean**2 + q.variance - 1 - q.variance.log()).sum(1).mean() / 2
    objective = UnscaledElbo(vae, x)
    for done, beta in ((0.0, 0.0), (0.05, 0.5), (0.7, 1.0)):
        loss, _ = objective.loss("model", x, done=done, generator=generator_from(1))
        torch.testing.assert_close(loss, error + beta * nats)
    objective.after_step({})
