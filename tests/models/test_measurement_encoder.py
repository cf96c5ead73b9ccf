"""An encoder of measurements fits the groups that it tells, and begins with what the prior says."""

import pytest
import torch

from course_lib.inference import latent_divergence
from course_lib.models.measurement_encoder import MeasurementEncoderForm
from course_lib.models.stacked_vae import stacked_vae
from course_lib.rng import generator_from

LATENTS = {"1": 2, "8": 3, "16": 1}


@pytest.fixture
def hvae():
    torch.manual_seed(0)
    model = stacked_vae(
        dec_blocks="1x2,8m1,16m8",
        latents=LATENTS,
        channels=(4, 6, 8),
        width=12,
        blocks=1,
        tail=4,
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def encoder(size: int, channels: list[int], halves: list[bool], k: int):
    torch.manual_seed(1)
    return MeasurementEncoderForm(
        measurement_size=(1, size, size),
        sides=[1, 1, 8, 16][:k],
        latents=LATENTS,
        channels=channels,
        halves=halves,
        width=12,
        blocks=1,
    ).build()


# size of y, channels, halves, k, and the sides at which features are seen
FORMS = [
    (8, [8], [False], 3, {8, 1}),
    (16, [6, 8], [False, True], 4, {16, 8, 1}),
    (4, [8], [False], 2, {4, 1}),
    (64, [4, 6, 8], [True, True, True], 4, {32, 16, 8, 1}),
]


@pytest.mark.parametrize(("size", "channels", "halves", "k", "sides"), FORMS)
def test_features_and_heads(hvae, size, channels, halves, k, sides):
    model = encoder(size, channels, halves, k)
    assert model.k == k
    y = torch.rand(3, 1, size, size, generator=generator_from(0))
    features = model.features(y)
    assert features.keys() == sides
    assert all(maps.shape[-2:] == (side, side) for side, maps in features.items())
    for head, group in zip(model.heads, hvae.decoder.dec_blocks, strict=False):
        shapes = {name: value.shape for name, value in head.state_dict().items()}
        assert shapes == {name: value.shape for name, value in group.enc.state_dict().items()}


@pytest.mark.parametrize(("size", "channels", "halves", "k", "sides"), FORMS)
def test_begins_at_the_prior(hvae, size, channels, halves, k, sides):
    """So the divergence from the image's posterior is the rate of each group, for the same draw."""
    x = torch.rand(4, 1, 64, 64, generator=generator_from(2))
    y = torch.rand(4, 1, size, size, generator=generator_from(3))
    model = encoder(size, channels, halves, k)
    nats = latent_divergence(hvae, model, x, y, generator=generator_from(4))
    rates = hvae.encode(x, generator=generator_from(4)).rates[:, :k]
    # log std + 0, then clamped and exponentiated once more: float32 rounding.
    torch.testing.assert_close(nats, rates, rtol=1e-5, atol=1e-5)


def test_tells_once_it_is_trained(hvae):
    """With weights in the last layers the law depends on y, and on y alone beside the maps."""
    model = encoder(8, [8], [False], 3)
    for head in model.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.1)
    prior = torch.distributions.Normal(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    state = torch.zeros(2, 8, 8, 8)
    y = torch.rand(2, 1, 8, 8, generator=generator_from(5))
    q = model.posterior(2, state, model.features(y), prior)
    assert q.mean.shape == q.stddev.shape == (2, 3, 8, 8)
    assert (q.mean[0] - q.mean[1]).abs().max() > 1e-3
    again = model.posterior(2, state, model.features(y.flip(0)), prior)
    torch.testing.assert_close(again.mean, q.mean.flip(0))


def test_bad_measurement():
    model = encoder(8, [8], [False], 3)
    for shape in ((2, 1, 16, 16), (2, 3, 8, 8), (1, 8, 8)):
        with pytest.raises(ValueError, match=r"expected measurements \(B, 1, 8, 8\), got"):
            model.features(torch.rand(shape))


def test_measurements_enter_on_the_range_of_images():
    """The encoder takes 2 y - 1, as the HVAE's takes 2 x - 1."""
    model, seen = encoder(8, [8], [False], 3), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    y = torch.rand(2, 1, 8, 8, generator=generator_from(0))
    model.features(y)
    assert torch.equal(seen[0], 2 * y - 1)
