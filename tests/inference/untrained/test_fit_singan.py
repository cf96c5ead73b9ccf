"""SinGAN on a photograph of 32 x 32 pixels, trained in seconds, and what can be done with it."""

import math
import sys

import pytest
import torch

from course_lib.data import load_photo
from course_lib.inference.untrained import (
    AdversarialTraining,
    Pyramid,
    fit_singan,
    harmonise,
    singan_enlarge,
)
from course_lib.models.singan import SinGAN, gradient_penalty, resize
from course_lib.rng import generator_from

QUICK = {"pyramid": Pyramid(2, 16, 4), "training": AdversarialTraining(n_steps=3)}


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def model(lines):
    """Nothing here changes it."""
    return fit_singan(
        load_photo("coins", 32),
        pyramid=Pyramid(3, 16, 16),
        generator=generator_from(0),
        report=lines.append,
    )


def mse(a, b):
    return (a - b).square().mean().item()


@pytest.mark.slow
def test_fixed_noise_draws_the_image(model):
    assert mse(model.reconstruct(), model.image) < 1e-3
    assert torch.equal(model.image, load_photo("coins", 32))
    # Any other noise draws another image.
    samples = model.sample(4, generator=generator_from(1))
    assert all(mse(x, model.image) > 1e-2 for x in samples[:, None])
    assert mse(samples[0], samples[1]) > 1e-2


@pytest.mark.slow
def test_noise_follows_the_missing_detail(model):
    """a_n is a tenth of the root mean square of what the enlarged reconstruction lacks."""
    assert model.amplitudes[0] == 1
    x = model.draw([model.z_rec])
    for scale, size in enumerate(model.image_sizes[1:], 1):
        real = resize(2 * model.image - 1, size)
        lacking = mse(resize(x, size), real) ** 0.5
        # Sums of float32 in another order.
        assert math.isclose(model.amplitudes[scale], 0.1 * lacking, rel_tol=1e-5)
        x = model.refine(x, scale, torch.zeros_like(real))


@pytest.mark.slow
def test_history(model, lines):
    assert set(model.history) == {"distance", "penalty", "reconstruction"}
    for rows in model.history.values():
        assert rows.shape == (3, 200)
        assert rows.isfinite().all()
    assert (model.history["penalty"] >= 0).all()
    reconstruction = model.history["reconstruction"]
    assert (reconstruction[:, -1] < 0.5 * reconstruction[:, 0]).all()
    assert len(lines) == 3
    assert lines[2].startswith("scale 2, 32 x 32: root mean square error of the reconstruction 0.0")


def test_every_column_is_that_of_the_networks_before_the_step(monkeypatch):
    """The critic of that moment, on the image and on what was drawn; the reconstruction drawn."""
    seen = []

    def spy(f, real, fake, *, generator):
        length = gradient_penalty(f, real, fake, generator=generator.clone_state())
        # f is sqrt(n) times the mean score
        distance = (f(real) - f(fake)).mean() / math.sqrt(real.numel())
        seen.append({"distance": distance.item(), "penalty": length.mean().item(), "real": real})
        return gradient_penalty(f, real, fake, generator=generator)

    def refine(self, coarser, scale, noise):
        drawn = whole(self, coarser, scale, noise)
        if len(drawn) == 2:
            pairs.append(drawn[1].detach().clone())
        return drawn

    pairs, whole = [], SinGAN.refine
    monkeypatch.setattr(sys.modules[fit_singan.__module__], "gradient_penalty", spy)
    monkeypatch.setattr(SinGAN, "refine", refine)
    model = fit_singan(load_photo("coins", 32), **QUICK, generator=generator_from(0))
    n_scales = len(model.image_sizes)
    assert len(seen) == len(pairs) == 3 * n_scales
    for row, x_rec in zip(seen, pairs, strict=True):
        row["reconstruction"] = mse(x_rec, row["real"])
    for name, rows in model.history.items():
        expected = torch.tensor([row[name] for row in seen]).view(n_scales, 3)
        torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-7)  # float32


@pytest.mark.slow
def test_statistics_of_samples(model):
    """Samples have the grey levels of the image: mean, spread, and that of differences."""
    samples = model.sample(16, generator=generator_from(2))
    shuffled = model.image.flatten()[torch.randperm(1024, generator=generator_from(3))]

    def statistics(x):
        return torch.stack([x.mean(), x.std(), x.diff(dim=-1).std(), x.diff(dim=-2).std()])

    target = statistics(model.image)
    error = (statistics(samples) / target - 1).abs()
    assert error.max() < 0.25  # what 200 steps reach; no promise of mathematics
    # Pixels in any order have the same mean and spread, but not the differences.
    unordered = (statistics(shuffled.view(1, 1, 32, 32)) / target - 1).abs()
    assert unordered[2:].min() > 2 * error.max()


@pytest.mark.slow
def test_finer_starts_change_less(model):
    """The spread of samples: most of it comes from the coarsest scale."""
    spread = [
        model.sample(8, generator=generator_from(4), start_scale=s).var(0).mean().item()
        for s in range(3)
    ]
    assert spread[0] > 10 * spread[1]
    assert spread[1] > spread[2] > 0


@pytest.mark.slow
def test_redrawing_without_noise_returns_the_image(model):
    """psi_2 has learnt this image: as close as the reconstruction, within a factor of two."""
    redrawn = model.inject(model.image, 2)
    assert mse(redrawn, model.image) < 2 * mse(model.reconstruct(), model.image)
    assert mse(redrawn, model.image) < 2e-3
    # A photograph that it has not learnt stays nearer to itself than to the learnt one.
    other = load_photo("coffee", 32)
    assert mse(model.inject(other, 2), other) < 0.5 * mse(other, model.image)


@pytest.mark.slow
def test_the_model_is_ready_for_use(model):
    assert isinstance(model, SinGAN)
    assert not model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.slow
def test_super_resolution(model):
    large = singan_enlarge(model, model.image, 2)
    assert large.shape == (1, 1, 64, 64)
    # 2 = 1.41^2, and scales are 1.41 apart: two passes through the finest generator.
    x = 2 * model.image - 1
    for side in (45, 64):
        x = model.refine(x, 2, torch.zeros(1, 1, side, side))
    torch.testing.assert_close(large, 0.5 + 0.5 * x, rtol=0, atol=0)
    assert torch.equal(large, singan_enlarge(model, model.image, 2, passes=2))
    noisy = singan_enlarge(model, model.image, 2, generator=generator_from(5))
    assert 0 < mse(noisy, large) < 1e-2
    two = model.image.expand(2, -1, -1, -1)[..., :20]
    assert singan_enlarge(model, two, 1.5, passes=3).shape == (2, 1, 48, 30)


@pytest.mark.slow
def test_harmonisation(model):
    composite = model.image.clone()
    composite[..., 10:18, 12:20] = 1 - composite[..., 10:18, 12:20]
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 10:22] = 1
    drawn = harmonise(model, composite, 1)
    assert torch.equal(drawn, model.inject(composite, 1))
    assert mse(drawn, composite) > 1e-4
    kept = harmonise(model, composite, 1, mask=mask)
    assert torch.equal(kept[mask == 0], composite[mask == 0])
    assert torch.equal(kept[mask == 1], drawn[mask == 1])
    half = harmonise(model, composite, 1, mask=0.5 * torch.ones(1, 1, 32, 32))
    torch.testing.assert_close(half, (drawn + composite) / 2, rtol=0, atol=1e-6)
    noisy = harmonise(model, composite, 1, generator=generator_from(6))
    assert torch.equal(noisy, model.inject(composite, 1, generator=generator_from(6)))


def test_seed_decides_everything():
    image = load_photo("coffee", (20, 26), colour=True)
    state = torch.random.get_rng_state()
    first, again, other = (
        fit_singan(image, **QUICK, generator=generator_from(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    for name, rows in first.history.items():
        assert torch.equal(rows, again.history[name])
        assert not torch.equal(rows, other.history[name])
    assert not torch.equal(first.z_rec, other.z_rec)
    assert first.sample(2, generator=generator_from(0)).shape == (2, 3, 20, 26)


def test_float64_and_one_scale():
    image = load_photo("coins", 16).double()
    model = fit_singan(image, **QUICK | {"pyramid": Pyramid(1, 16, 4)}, generator=generator_from(0))
    assert model.reconstruct().dtype == torch.float64
    assert model.history["distance"].shape == (1, 3)
    assert singan_enlarge(model, image, 3).shape == (1, 1, 48, 48)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 1, 32, 32), r"one image \(1, C, H, W\), got shape \(2, 1, 32, 32\)"),
        (torch.full((1, 1, 32, 32), 255.0), "Divide by 255"),
        (-torch.ones(1, 1, 32, 32), r"in \[0, 1\], got \[-1, -1\]"),
        (torch.full((1, 1, 32, 32), math.nan), "1024 values that are NaN"),
    ],
)
def test_images_that_cannot_be_learnt(image, message):
    with pytest.raises(ValueError, match=message):
        fit_singan(image, **QUICK, generator=generator_from(0))


@pytest.mark.parametrize(
    "name",
    ["n_steps", "learning_rate", "penalty_weight", "reconstruction_weight", "noise"],
)
def test_settings(name):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got 0"):
        AdversarialTraining(**{name: 0})


@pytest.mark.slow
def test_errors(model):
    with pytest.raises(TypeError, match="generator"):
        fit_singan(model.image, **QUICK, generator=None)
    with pytest.raises(ValueError, match="min_side between 11"):
        fit_singan(model.image[..., :15], **QUICK, generator=generator_from(0))
    for factor in (1, 0.5, math.inf):
        with pytest.raises(ValueError, match="a factor above 1"):
            singan_enlarge(model, model.image, factor)
    with pytest.raises(ValueError, match="passes >= 1, got 0"):
        singan_enlarge(model, model.image, 2, passes=0)
    colour = model.image.expand(-1, 3, -1, -1)
    for call in (lambda x: singan_enlarge(model, x, 2), lambda x: harmonise(model, x, 1)):
        with pytest.raises(ValueError, match=r"images \(B, 1, H, W\)"):
            call(colour)
    with pytest.raises(ValueError, match=r"mask of shape \(1 or 1, 1, 32, 32\)"):
        harmonise(model, model.image, 1, mask=torch.ones(1, 1, 16, 16))
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        harmonise(model, model.image, 1, mask=2 * torch.ones(1, 1, 32, 32))
    with pytest.raises(ValueError, match=r"start_scale from 1 \(coarse\) to 2"):
        harmonise(model, model.image, 3)
