"""The networks of SinGAN: sizes, what a score sees, and the gradient penalty."""

import math
from itertools import pairwise

import pytest
import torch

from course_lib.models.singan import (
    SinGAN,
    gradient_penalty,
    patch_critic,
    patch_generator,
    pyramid_sizes,
    resize,
)
from course_lib.rng import generator_from


def seeded(make):
    """Networks with weights of a fixed seed, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double()


@pytest.fixture
def model():
    """Untrained, for images of 24 x 30 pixels at three scales, with some noise at each."""
    singan = seeded(lambda: SinGAN((2, 24, 30), scales=3, min_side=12, channels=4)).eval()
    singan.amplitudes.copy_(torch.tensor([1.0, 0.5, 0.25]))
    singan.image.copy_(torch.rand(singan.image.shape, generator=generator_from(1)))
    singan.z_rec.copy_(torch.randn(singan.z_rec.shape, generator=generator_from(2)))
    return singan


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (37, 53), (20, 20)])
@pytest.mark.parametrize("scales", [2, 3, 5])
def test_pyramid(size, scales):
    sizes = pyramid_sizes(size, scales, 20)
    assert len(sizes) == scales
    assert sizes[-1] == size
    assert min(sizes[0]) == 20
    ratio = (20 / min(size)) ** (1 / (scales - 1))
    for (h, w), (H, W) in pairwise(sizes):
        # Either side is rounded, by half a pixel at most.
        assert abs(h - ratio * H) <= 0.5 + 0.5 * ratio
        assert abs(w - ratio * W) <= 0.5 + 0.5 * ratio
    model = SinGAN((1, *size), scales=scales, min_side=20, channels=2)
    assert model.image_sizes == model.sizes(size) == sizes
    assert math.isclose(model.ratio, 1 / ratio, rel_tol=1e-12)


def test_one_scale():
    model = SinGAN((1, 30, 40), scales=1, min_side=20, channels=2)
    assert model.image_sizes == [(30, 40)]
    assert model.ratio == 1


@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize("place", [(12, 14), (3, 27)], ids=["inside", "border"])
def test_a_score_sees_one_patch(depth, place):
    """The support of the gradient of one score: exactly 11 x 11 pixels for five layers."""
    critic = seeded(lambda: patch_critic(2, channels=8, depth=depth))
    x = torch.randn(1, 2, 25, 28, generator=generator_from(0)).double().requires_grad_()
    scores = critic(x)
    assert scores.shape == (1, 1, 25, 28)
    (gradient,) = torch.autograd.grad(scores[0, 0, *place], x)
    rows = (torch.arange(25) - place[0]).abs() <= depth
    columns = (torch.arange(28) - place[1]).abs() <= depth
    assert torch.equal(gradient[0].ne(0).any(0), rows[:, None] & columns)


def test_critics_have_no_batch():
    critic = seeded(lambda: patch_critic(1, channels=8))
    x = torch.randn(3, 1, 12, 13, generator=generator_from(0)).double()
    # Sums in another order, in float64.
    torch.testing.assert_close(critic(x)[1:2], critic(x[1:2]), rtol=0, atol=1e-13)


def test_drawings_do_not_see_each_other(model):
    noises = model.noises(3, model.image_sizes, generator_from(3))
    together = model.draw(noises)
    assert together.shape == (3, 2, 24, 30)
    alone = model.draw([z[1:2] for z in noises])
    # Sums in another order, in float64.
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-12)


def test_a_step_adds_detail_to_the_enlarged_image(model):
    x = torch.randn(1, 2, 12, 15, generator=generator_from(4)).double()
    z = torch.randn(1, 2, 17, 21, generator=generator_from(5)).double()
    up = resize(x, (17, 21))
    detail = model.generators[1](up + 0.5 * z)
    torch.testing.assert_close(model.refine(x, 1, z), up + detail, rtol=0, atol=0)
    last = model.generators[1][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    torch.testing.assert_close(model.refine(x, 1, z), up, rtol=0, atol=0)


def test_generator_keeps_sizes():
    network = patch_generator(3, channels=4)
    for size in ((11, 11), (12, 31)):
        assert network(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_samples(model):
    first = model.sample(4, generator=generator_from(6))
    assert first.shape == (4, 2, 24, 30)
    assert torch.equal(first, model.sample(4, generator=generator_from(6)))
    assert not torch.equal(first, model.sample(4, generator=generator_from(7)))
    assert (first[0] - first[1]).abs().max() > 0.01
    assert not first.requires_grad


@pytest.mark.parametrize("size", [(48, 30), (24, 61), (13, 17)])
def test_samples_of_another_size(model, size):
    sizes = model.sizes(size)
    assert sizes[-1] == size
    for (h, w), (own_h, own_w) in zip(sizes, model.image_sizes, strict=True):
        assert abs(h - own_h * size[0] / 24) <= 0.5
        assert abs(w - own_w * size[1] / 30) <= 0.5
    for start_scale in (0, 1, 2):
        images = model.sample(2, generator=generator_from(0), size=size, start_scale=start_scale)
        assert images.shape == (2, 2, *size)


def test_reconstruction_has_noise_at_the_coarsest_scale_only(model):
    zeros = [torch.zeros(1, 2, *size).double() for size in model.image_sizes]
    expected = 0.5 + 0.5 * model.draw([model.z_rec, *zeros[1:]])
    torch.testing.assert_close(model.reconstruct(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("start_scale", [1, 2])
def test_injection_starts_from_the_shrunk_image(model, start_scale):
    image = torch.rand(2, 2, 24, 30, generator=generator_from(8)).double()
    x = resize(2 * image - 1, model.image_sizes[start_scale - 1])
    for scale in range(start_scale, 3):
        x = model.refine(x, scale, torch.zeros(2, 2, *model.image_sizes[scale]).double())
    redrawn = model.inject(image, start_scale)
    torch.testing.assert_close(redrawn, 0.5 + 0.5 * x, rtol=0, atol=0)
    noisy = model.inject(image, start_scale, generator=generator_from(9))
    assert (noisy - redrawn).abs().max() > 1e-3
    # sample() injects the learnt image
    drawn = model.sample(2, generator=generator_from(9), start_scale=start_scale)
    learnt = model.image.expand(2, -1, -1, -1)
    torch.testing.assert_close(
        drawn, model.inject(learnt, start_scale, generator=generator_from(9)), rtol=0, atol=0
    )


def test_everything_is_in_the_state_dict(model):
    copy = SinGAN((2, 24, 30), scales=3, min_side=12, channels=4).double().eval()
    copy.load_state_dict(model.state_dict())
    for start_scale in (0, 2):
        a, b = (
            m.sample(1, generator=generator_from(0), start_scale=start_scale) for m in (model, copy)
        )
        assert torch.equal(a, b)
    assert torch.equal(model.reconstruct(), copy.reconstruct())


def test_penalty_of_a_linear_critic(generator):
    """Its gradient is the same everywhere: (|w| - 1)^2, whatever the images and t."""
    real, fake, w = (torch.randn(3, 2, 4, 5, generator=generator).double() for _ in range(3))
    penalty = gradient_penalty(lambda x: (w * x).sum((1, 2, 3)), real, fake, generator=generator)
    expected = (w.flatten(1).norm(dim=1) - 1).square()
    torch.testing.assert_close(penalty, expected, rtol=1e-13, atol=0)


def test_penalty_is_taken_between_the_images(generator):
    """grad |x|^2 / 2 = x: the penalty tells at which point of the segment it was taken."""
    real, fake = torch.full((500, 1, 1, 1), 3.0), torch.full((500, 1, 1, 1), 5.0)
    penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, generator=generator)
    position = (penalty.sqrt() + 1 - 3) / 2  # 0 at the real, 1 at the fake image
    assert position.min() >= -1e-6  # rounding of float32
    assert position.max() <= 1 + 1e-6
    # Uniform: mean 1/2 and variance 1/12, each within four standard errors of 500 draws.
    assert abs(position.mean() - 1 / 2) < 4 * (1 / 12 / 500) ** 0.5
    assert abs(position.var() - 1 / 12) < 4 * (1 / 180 / 500) ** 0.5


def test_penalty_against_finite_differences(generator):
    critic = seeded(lambda: patch_critic(1, channels=4, depth=2))
    real, fake = (torch.randn(2, 1, 7, 6, generator=generator).double() for _ in range(2))
    penalty = gradient_penalty(critic, real, fake, generator=generator_from(3))
    t = torch.rand(2, generator=generator_from(3), dtype=torch.float64).view(-1, 1, 1, 1)
    x = t * real + (1 - t) * fake
    h, steps = 1e-6, torch.eye(42).double().view(42, 1, 7, 6)
    for image, value in zip(x, penalty, strict=True):
        up, down = (critic(image + s * steps).sum((1, 2, 3)) for s in (h, -h))
        slope = ((up - down) / (2 * h)).norm()
        # The critic is piecewise linear: what is left is rounding, 1e-16 / h.
        assert abs(value - (slope - 1).square()) < 1e-8


def test_penalty_can_be_differentiated_again(generator):
    """Training needs its gradient in the weights of the critic, a second derivative."""
    real, fake = (torch.randn(2, 1, 3, 3, generator=generator).double() for _ in range(2))
    shapes = ((2, 1, 3, 3), (2,), (1, 2, 1, 1))
    weights = [torch.randn(s, generator=generator).double().requires_grad_() for s in shapes]

    def penalty(w, b, v):
        def critic(x):
            hidden = torch.nn.functional.conv2d(x, w, b, padding=1).tanh()
            return torch.nn.functional.conv2d(hidden, v)

        return gradient_penalty(critic, real, fake, generator=generator_from(4))

    assert torch.autograd.gradcheck(penalty, weights)
    images = [x.clone().requires_grad_() for x in (real, fake)]
    gradient_penalty(
        lambda x: (weights[0][:1] * x).sum((1, 2, 3)), *images, generator=generator
    ).sum().backward()
    assert all(x.grad is None for x in images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": 0}, "scales >= 1, got 0"),
        ({"min_side": 10}, "min_side between 11, the side of a patch, and 24"),
        ({"min_side": 25}, "the shorter side of the image, got 25"),
        ({"min_side": 12, "depth": 6}, "min_side between 13"),
    ],
)
def test_pyramids_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        SinGAN((1, 24, 30), **{"channels": 2, "min_side": 12, **options})


def test_errors(model):
    for scale in (0, 3, -1):
        with pytest.raises(ValueError, match=r"start_scale from 1 \(coarse\) to 2 \(fine\)"):
            model.inject(model.image, scale)
    for scale in (3, -1):
        with pytest.raises(ValueError, match="Only sample"):
            model.sample(1, generator=generator_from(0), start_scale=scale)
    with pytest.raises(ValueError, match=r"images \(B, 2, H, W\).*got \(1, 1, 24, 30\)"):
        model.inject(model.image[:, :1], 1)
    with pytest.raises(ValueError, match="positive"):
        model.sample(1, generator=generator_from(0), size=(0, 5))
    with pytest.raises(TypeError, match="generator"):
        model.sample(1, generator=None)
