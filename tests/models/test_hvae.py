"""The hierarchy against linear-Gaussian algebra, and what its notation and its parts promise."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course_lib.exact.linear_hierarchy import LinearHierarchy
from course_lib.models.stacked_vae import stacked_vae, start_from_vae
from course_lib.models.vae_networks import compact_vae
from course_lib.models.vdvae import vdvae
from course_lib.rng import generator_from, normal_like

EPS = 2.2e-16
TINY = {"channels": (8, 8, 8), "width": 16, "blocks": 1, "tail": 4}


@pytest.fixture
def world():
    """Two groups of three latents, coupled, in images of 4 x 4; and the covariance of images."""
    n, c, s = 16, 0.6, 0.2
    basis = torch.linalg.qr(torch.randn(n, 6, generator=generator_from(0)).double()).Q
    amplitudes = torch.tensor([[2.0, 1.0, 0.7], [0.9, 0.5, 0.3]], dtype=torch.float64)
    model = LinearHierarchy(basis, amplitudes, [c], s)
    first, second = basis[:, :3] * amplitudes[0], basis[:, 3:] * amplitudes[1]
    response = first + c * second
    covariance = (
        response @ response.T
        + (1 - c**2) * second @ second.T
        + s**2 * torch.eye(n, dtype=torch.float64)
    )
    return model, covariance


@pytest.fixture
def images(world):
    _, covariance = world
    draws = torch.randn(200, 16, generator=generator_from(1)).double()
    return (draws @ torch.linalg.cholesky(covariance).T).view(-1, 1, 4, 4)


def log_ratio(model, x, generator):
    """log p(x, z) - log q(z | x) for one draw of z, nats per image."""
    features, total = model.features(x), []

    def draw(index, state, prior):
        q = model.decoder.dec_blocks[index].posterior(state, features[x.shape[-1]], prior)
        z = q.mean + q.stddev * normal_like(q.mean, generator)
        total.append((prior.log_prob(z) - q.log_prob(z)).flatten(1).sum(1))
        return z

    maps = model.decoder.descend(draw, len(x))
    return model.decoder.emit(maps).log_prob(x).flatten(1).sum(1) + sum(total)


def test_exact_posteriors_give_the_likelihood_itself(world, images, generator):
    """For q = p(z | x), log p(x, z) - log q(z | x) = log p(x) whatever z is drawn."""
    model, covariance = world
    exact = MultivariateNormal(torch.zeros(16).double(), covariance).log_prob(images.flatten(1))
    # Inverses of matrices of condition 100, sums of 30 terms of size 10: far below 1e-10.
    assert torch.allclose(log_ratio(model, images, generator), exact, atol=1e-10, rtol=0)


def test_rates_add_up_to_the_joint_divergence(world, images):
    """Chain rule: the sum over groups of E KL_l is KL(q(z | x) || p(z)), in closed form here."""
    model, covariance = world
    x = images[:1]
    synthesis = torch.cat([g.synthesis for g in model.decoder.dec_blocks], 1)
    eye = torch.eye(3, dtype=torch.float64)
    prior = torch.cat([torch.cat([eye, 0.6 * eye], 1), torch.cat([0.6 * eye, eye], 1)])
    gain = prior @ synthesis.T @ torch.linalg.inv(covariance)
    posterior = MultivariateNormal(gain @ x.flatten(), prior - gain @ synthesis @ prior)
    joint = kl_divergence(posterior, MultivariateNormal(torch.zeros(6).double(), prior))
    rates = model.encode(x.expand(20_000, -1, -1, -1), generator=generator_from(2)).rates.sum(1)
    assert (rates.mean() - joint).abs() < 4 * rates.std() / 20_000**0.5


def test_elbo_is_distortion_and_rates_of_one_draw(world, images):
    model, _ = world
    elbo = model.elbo(images, generator=generator_from(0))
    encoded = model.encode(images, generator=generator_from(0))
    assert torch.equal(elbo.rate, encoded.rates.sum(1))
    p = model.decode(encoded.latents)
    assert torch.equal(elbo.distortion, -p.log_prob(images).flatten(1).sum(1))


def test_temperature_scales_the_prior_of_the_free_groups(world, generator):
    """Given z_0, the mean image moves along group 1 only, with a spread proportional to tau."""
    model, _ = world
    z0 = torch.randn(1, 3, 1, 1, generator=generator).double()
    spreads = []
    for temperature in (0.5, 1.0):
        x = model.sample(20_000, temperature, [z0], generator=generator_from(3)).flatten(1)
        spreads.append((x @ model.decoder.dec_blocks[1].synthesis).std(0))
    expected = 0.8 * torch.tensor([0.9, 0.5, 0.3]).double() ** 2  # sqrt(1 - 0.6^2) a^2
    assert torch.allclose(spreads[0] / spreads[1], torch.tensor(0.5).double(), rtol=1e-12)
    assert torch.allclose(spreads[1], expected, rtol=0.02)  # 4 / sqrt(2 * 20,000)


def test_temperature_zero_leaves_nothing_to_chance(world, generator):
    model, _ = world
    z0 = torch.randn(1, 3, 1, 1, generator=generator).double()
    first, second = (model.sample(2, 0.0, [z0], generator=generator_from(s)) for s in (0, 1))
    assert torch.equal(first, second)
    assert torch.equal(first[0], first[1])


@pytest.mark.parametrize("temperature", [-0.1, -1.0])
def test_refuses_a_negative_temperature(world, temperature):
    with pytest.raises(ValueError, match="temperature must be 0 or more"):
        world[0].sample(1, temperature, generator=generator_from(0))


def test_refuses_more_latents_than_groups(world):
    given = [torch.zeros(1, 3, 1, 1).double()] * 3
    with pytest.raises(ValueError, match="latents of 3 groups were given, but there are 2"):
        world[0].sample(1, 1.0, given, generator=generator_from(0))


def test_refuses_images_of_another_size(world):
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 1, 4, 4\)"):
        world[0].encode(torch.zeros(1, 1, 5, 5).double(), generator=generator_from(0))


def test_refuses_columns_that_are_not_orthonormal():
    with pytest.raises(ValueError, match="orthonormal"):
        LinearHierarchy(torch.ones(16, 4), torch.ones(2, 2), [0.5], 0.1)


@pytest.fixture
def deep():
    torch.manual_seed(0)
    return vdvae(
        enc_blocks="8x1,8d2,4x1,4d4,1x2",
        dec_blocks="1x2,4m1,4x2,8m4,8x3",
        widths={"1": 16, "4": 12, "8": 8},
        latents=2,
        img_size=(3, 8, 8),
        n_mixtures=3,
    ).eval()


@pytest.mark.parametrize("call", ["encode", "elbo", "sample"])
def test_refuses_to_draw_without_a_generator(world, images, call):
    with pytest.raises(TypeError, match="generator"):
        getattr(world[0], call)(1 if call == "sample" else images, generator=None)


@torch.no_grad()
def test_a_published_architecture_codes_and_draws(deep, generator):
    x = (torch.rand(2, 3, 8, 8, generator=generator) * 255).round() / 255
    encoded = deep.encode(x, generator=generator)
    assert [tuple(z.shape[1:]) for z in encoded.latents] == [
        (2, s, s) for s in [1] * 2 + [4] * 3 + [8] * 4
    ]
    assert (encoded.rates >= 0).all()
    assert deep.decode(encoded.latents).log_prob(x).shape == (2, 1, 8, 8)
    assert deep.sample(3, 0.7, generator=generator).shape == (3, 3, 8, 8)
    assert deep.groups_up_to(4) == 5


@torch.no_grad()
def test_maps_do_not_grow_with_depth_at_the_start():
    """Branches scaled by 1 / sqrt(L): 60 groups leave the maps as large as 6 do, or nearly."""
    sizes = []
    for length in (6, 60):
        torch.manual_seed(0)
        model = vdvae(
            enc_blocks="4x1",
            dec_blocks=f"4x{length}",
            widths={"4": 16},
            latents=4,
            img_size=(1, 4, 4),
        )
        draw = model.prior_draw(1.0, [], generator_from(0))
        sizes.append(model.decoder.descend(draw, 100).std())
    assert 0.5 < sizes[1] / sizes[0] < 2


@torch.no_grad()
def test_every_prior_is_standard_normal_at_the_start(deep):
    """The last layer of a prior is zero, so that the first rates are those of a flat VAE."""
    seen = []

    def draw(index, state, prior):
        seen.append(prior)
        return prior.mean

    deep.decoder.descend(draw, 1)
    assert all((p.mean == 0).all() and (p.stddev == 1).all() for p in seen)


@torch.no_grad()
def test_starts_as_the_flat_vae_that_it_grows_out_of(generator):
    """With nothing from the new groups, samples and the rate are those of the VAE."""
    torch.manual_seed(0)
    vae = compact_vae(latent_dim=4, img_size=(1, 16, 16), **TINY)
    model = stacked_vae(
        dec_blocks="1x3,2m1,2x1,4m2",
        latents={"1": 2, "2": 3, "4": 1},
        img_size=(1, 16, 16),
        **TINY,
    )
    start_from_vae(model, vae)
    x = torch.rand(2, 1, 16, 16, generator=generator)
    encoded = model.encode(x, generator=generator)
    z = torch.cat(encoded.latents[1:3], 1)[..., 0, 0]
    given = [torch.zeros(2, 2, 1, 1), *encoded.latents[1:3]]
    # Convolutions in float32 on numbers of size 1.
    drawn = model.sample(2, 0.0, given, generator=generator)
    assert torch.allclose(drawn, vae.decode(z).mean, atol=1e-5)
    flat = kl_divergence(vae.encode(x), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(encoded.rates[:, :3].sum(1), flat, rtol=1e-4)


def test_refuses_a_vae_whose_latents_do_not_fill_the_groups():
    vae = compact_vae(latent_dim=5, img_size=(1, 16, 16), **TINY)
    model = stacked_vae(
        dec_blocks="1x3,2m1", latents={"1": 2, "2": 3}, img_size=(1, 16, 16), **TINY
    )
    with pytest.raises(ValueError, match="must have as many latents together"):
        start_from_vae(model, vae)
