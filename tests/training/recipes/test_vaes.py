"""Recipes of variational autoencoders: which noise floor they ask for."""

import torch

from course_lib.models import conv_vae
from course_lib.training.recipes import find_recipe
from course_lib.training.recipes.vaes import VAE_RECIPES


def test_only_the_compact_vae_of_plates_has_a_floor():
    vae = conv_vae(channels=[4], latent_channels=2, blocks=1, tail=4)
    floors = {r.name: r.objective(vae, torch.zeros(1, 1, 64, 64)).noise_floor for r in VAE_RECIPES}
    assert floors.pop("vae_plates64_compact") == 0.08
    assert set(floors.values()) == {0.0}
    assert "decoder noise 0.08" in find_recipe("vae_plates64_compact").description
