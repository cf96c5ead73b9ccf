"""The two networks of a GAN: shapes, labels, and images that do not depend on their neighbours."""

import pytest
import torch
from torch.nn.functional import leaky_relu

from course_lib.models import GAN
from course_lib.rng import generator_from


def small(**changes) -> GAN:
    torch.manual_seed(0)
    arguments = {"latent_dim": 5, "channels": (12, 8, 6), "critic_channels": (4, 6), **changes}
    return GAN(**arguments).double().eval()


@pytest.mark.parametrize("colours", [1, 3])
def test_shapes_and_range(colours):
    gan = small(image_channels=colours)
    assert gan.img_size == (colours, 16, 16)  # 4 x 4, doubled twice
    x = gan.sample(7, generator=generator_from(0))
    assert x.shape == (7, *gan.img_size)
    assert x.min() >= 0
    assert x.max() <= 1
    assert gan.discriminate(x).shape == (7,)
    assert [tuple(f.shape[1:]) for f in gan.discriminator.features(x)] == [
        (4, 8, 8),
        (6, 4, 4),
        (6, 4, 4),
    ]


def test_an_image_does_not_depend_on_its_neighbours():
    """In evaluation mode batch normalisation is a fixed map: rounding is all that may differ."""
    gan = small()
    z = gan.prior(5, generator=generator_from(1))
    x = gan.decode(z).mean
    torch.testing.assert_close(gan.decode(z[3:4]).mean, x[3:4], rtol=0, atol=1e-14)
    torch.testing.assert_close(gan.discriminate(x[3:4]), gan.discriminate(x)[3:4])


def test_draws_repeat():
    gan = small()
    first, second = (gan.sample(3, generator=generator_from(4)) for _ in range(2))
    assert torch.equal(first, second)


def test_labels_change_both_networks():
    gan = small(classes=3)
    z = gan.prior(1, generator=generator_from(1)).expand(3, -1)
    x = gan.decode(z, torch.arange(3)).mean
    assert (x[0] - x[1]).abs().max() > 1e-3
    assert (x[1] - x[2]).abs().max() > 1e-3
    same = x[:1].expand(3, -1, -1, -1)
    logits = gan.discriminate(same, torch.arange(3))
    # A projection: the logit is linear in the embedding, so halving all embeddings moves the
    # logits to the midpoint between themselves and those without any.
    gan.discriminator.embedding.weight.data *= 0.5
    half = gan.discriminate(same, torch.arange(3))
    gan.discriminator.embedding.weight.data *= 0
    none = gan.discriminate(same, torch.arange(3))
    torch.testing.assert_close(half, (logits + none) / 2)


def test_a_label_weighs_as_much_as_the_image_at_first():
    """Embeddings are N(0, 1 / n), so over labels the logit of one image varies by |last| / sqrt(n).

    Were it much less, training would never learn to use the label.
    """
    told = small(classes=400)
    x = torch.rand(1, *told.img_size, generator=generator_from(3), dtype=torch.float64)
    logits = told.discriminate(x.expand(400, -1, -1, -1), torch.arange(400))
    last = told.discriminator.features(x)[-1]
    expected = last.norm() / last.numel() ** 0.5
    # The standard deviation of 400 draws is known to 1 / sqrt(800) = 3.5%; five times that.
    assert abs(logits.std() / expected - 1) < 0.18


def test_labels_that_do_not_fit():
    gan, told = small(), small(classes=3)
    z = gan.prior(2, generator=generator_from(1))
    label = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"0 classes and expects no label, got labels"):
        gan.decode(z, label)
    with pytest.raises(ValueError, match=r"3 classes and expects labels 0 to 2, got none"):
        told.sample(2, generator=generator_from(0))
    with pytest.raises(ValueError, match=r"got none"):
        told.discriminate(gan.decode(z).mean)


def test_the_discriminator_sees_images_on_its_range():
    """D takes 2 x - 1, a strided convolution and a leaky rectifier of slope 0.2, and so on."""
    gan = small()
    critic, x = gan.discriminator, gan.sample(2, generator=generator_from(5))
    expected = 2 * x - 1
    for layer in (*(stage[0] for stage in critic.stages), critic.last[0]):
        expected = leaky_relu(layer(expected), 0.2)
    torch.testing.assert_close(critic.features(x)[-1], expected)
    logit = expected.flatten(1) @ critic.head.weight[0] + critic.head.bias
    torch.testing.assert_close(gan.discriminate(x), logit)


def test_a_label_adds_the_product_with_its_embedding():
    told = small(classes=3)
    x = torch.rand(3, *told.img_size, generator=generator_from(3), dtype=torch.float64)
    last = told.discriminator.features(x)[-1].flatten(1)
    logit = told.discriminator.head(last)[:, 0]
    logit = logit + (told.discriminator.embedding.weight * last).sum(1)
    torch.testing.assert_close(told.discriminate(x, torch.arange(3)), logit)
