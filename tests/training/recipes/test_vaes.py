"""Recipes of variational autoencoders: their noise floors, and the figures of their cards."""

import pytest
import torch

from course_lib.models import conv_vae
from course_lib.rng import generator_from, normal_like
from course_lib.training.recipes import find_recipe
from course_lib.training.recipes.vaes import VAE_RECIPES, evaluate


def test_only_the_compact_vae_of_plates_has_a_floor():
    vae = conv_vae(channels=[4], latent_channels=2, blocks=1, tail=4)
    floors = {r.name: r.objective(vae, torch.zeros(1, 1, 64, 64)).noise_floor for r in VAE_RECIPES}
    assert floors.pop("vae_plates64_compact") == 0.08
    assert set(floors.values()) == {0.0}
    assert "decoder noise 0.08" in find_recipe("vae_plates64_compact").description


def test_the_figures_of_a_card_are_what_they_say():
    """70 images in parts of 64 and 6: means over images, the bound for each number of an image."""
    torch.manual_seed(0)
    vae = conv_vae(channels=[4], latent_channels=2, blocks=1, tail=4)
    x = torch.rand(70, 1, 16, 16, generator=generator_from(0))
    found = {name: figure.value for name, figure in evaluate(vae, x).items()}
    with torch.no_grad():
        q, generator = vae.encode(x), generator_from(0)
        eps = torch.cat(
            [normal_like(q.mean[part], generator) for part in (slice(64), slice(64, 70))]
        )
        p = vae.decode(q.mean + q.stddev * eps)
        rate = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).flatten(1).sum(1)
        bound = p.log_prob(x).flatten(1).sum(1) - rate
    error = (vae.reconstruct(x) - x).square().flatten(1).mean(1)
    # sums of 256 numbers in single precision
    assert found["elbo"] == pytest.approx(bound.mean().item() / 256, rel=1e-4)
    assert found["rate"] == pytest.approx(rate.mean().item(), rel=1e-4)
    assert found["reconstruction"] == pytest.approx((-10 * error.log10()).mean().item(), rel=1e-4)
