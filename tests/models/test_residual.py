"""The residual of released generators, against held-out images."""

import pytest
import torch

from course_lib.data import plates
from course_lib.models import load_pretrained, read_card, residual_std


def test_residual_is_that_of_reconstructions():
    x = plates.sample(torch.arange(32), seed=2)[0]
    error = (load_pretrained("vae_plates64").reconstruct(x) - x).square().mean().sqrt()
    # The card has the mean of PSNRs over 512 images, this is the root of the mean error of 32.
    assert error.item() == pytest.approx(residual_std("vae_plates64"), rel=0.2)


def test_gans_have_the_figure_of_their_inversion():
    value = read_card("gan_plates64")["figures"]["inversion"]["value"]
    assert residual_std("gan_plates64") == pytest.approx(10 ** (-value / 20))
