"""The reader of plates: its input beside the image, and probabilities of characters."""

import torch
from torch.nn.functional import interpolate

from course_lib.models import PlateReader
from course_lib.rng import generator_from


def test_noise_and_resolution_are_planes_beside_the_enlarged_image():
    """Planes 5 sigma and log2(64 / h) / 4, of size 1 over the levels that are trained."""
    torch.manual_seed(0)
    reader, seen = PlateReader(channels=(4, 4, 4, 4)), []
    reader.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    y, sigma = torch.rand(2, 1, 16, 16, generator=generator_from(0)), torch.tensor([0.02, 0.1])
    log_p = reader(y, sigma)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(2))
    image, noise, factor = seen[0].split(1, dim=1)
    assert torch.equal(image, interpolate(y, (64, 64), mode="bilinear"))
    assert torch.equal(noise, 5 * sigma.view(2, 1, 1, 1).expand(2, 1, 64, 64))
    assert torch.equal(factor, torch.full((2, 1, 64, 64), 0.5))  # log2(4) / 4
