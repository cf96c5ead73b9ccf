"""The structured decoder: its density, its stability, and what the released weights promise."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from course_lib.data.worlds import load_world
from course_lib.models import load_pretrained, read_card
from course_lib.models.structured_vae import (
    ROW_BOUND,
    PrecisionHead,
    StructuredNormal,
    structured_vae,
)
from course_lib.rng import generator_from, normal_like

SMALL = {"channels": (4, 8), "latent_channels": 2, "tail": 4, "img_size": (1, 8, 8)}


def small(**changes):
    """A model whose head says something: its last layer starts from 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = structured_vae(width=6, **(SMALL | changes)).double().eval()
        torch.nn.init.normal_(model.head.last.weight, std=3.0)
        torch.nn.init.normal_(model.head.last.bias)
    return model.requires_grad_(False)


@pytest.fixture
def z(generator):
    return torch.randn(3, 2, 2, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_density_is_that_of_torch(radius, z, generator):
    given_z = small(radius=radius).decode(z)
    x = torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    found = given_z.log_prob(x).flatten(1).sum(1)
    L = given_z.precision_cholesky.dense()
    law = MultivariateNormal(given_z.mean.flatten(1), precision_matrix=L @ L.mT)
    # 64 pixels; the precision's condition number is below 1e6 here, times 2e-16.
    torch.testing.assert_close(found, law.log_prob(x.flatten(1)), rtol=1e-9, atol=1e-9)


def test_it_is_a_chain_of_conditionals(z, generator):
    """The entry of pixel j is log p(x_j | later pixels): by dense conditioning at one pixel."""
    given_z = small(radius=2).decode(z[:1])
    x = torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    L = given_z.precision_cholesky.dense()[0]
    covariance, mean = torch.linalg.inv(L @ L.T), given_z.mean.flatten()
    for j in (0, 13, 40, 63):
        later = torch.arange(j + 1, 64)
        joint = torch.cat([torch.tensor([j]), later])
        tail = MultivariateNormal(mean[later], covariance[later][:, later]) if len(later) else None
        both = MultivariateNormal(mean[joint], covariance[joint][:, joint])
        flat = x.flatten()
        expected = both.log_prob(flat[joint]) - (tail.log_prob(flat[later]) if tail else 0)
        found = given_z.log_prob(x).flatten()[j]
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_mean_encoder_and_prior_are_those_of_the_vae(z):
    model = small(radius=1)
    torch.testing.assert_close(model.decode(z).mean, model.decoder(z), rtol=0, atol=0)
    assert model.prior(2, generator=generator_from(0)).shape == (2, 2, 2, 2)


def test_columns_obey_the_bound(z):
    """sum_i |L_ij| over i != j is at most 0.995 L_jj, so back substitution cannot grow."""
    L = small(radius=2).decode(50 * z).precision_cholesky.dense()
    diagonal = L.diagonal(dim1=1, dim2=2)
    rest = L.abs().sum(1) - diagonal
    assert (rest <= ROW_BOUND * diagonal * (1 + 1e-12)).all()
    assert (rest > 0.9 * diagonal).any()


@pytest.mark.parametrize(("weight", "expected"), [(0.2, 0.2), (-0.25, -0.25), (0.5, 0.25)])
def test_only_weights_above_the_bound_are_scaled_down(weight, expected):
    """Four equal weights w: 0.995 w while their sum is at most 1, else 0.995 / 4."""
    head = PrecisionHead(1, 1, radius=1, width=2)
    torch.nn.init.constant_(head.last.bias, weight)
    torch.nn.init.zeros_(head.last.weight)
    features = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)
    L = head(*features)
    diagonal = L.diagonal[0, 0, 4, 4]
    torch.testing.assert_close(diagonal, torch.tensor(weight).exp())
    column = L.dense()[0, :, 8 * 4 + 4]  # of a pixel whose four later neighbours are all there
    found = -column[[8 * 4 + 5, 8 * 5 + 3, 8 * 5 + 4, 8 * 5 + 5]] / diagonal
    torch.testing.assert_close(found, torch.full((4,), ROW_BOUND * expected))


def test_free_weights_explode_and_bounded_ones_do_not():
    """The same network with and without the bound, on an image on which errors can build up."""
    head = PrecisionHead(1, 1, radius=1, width=2)
    torch.nn.init.constant_(head.last.bias, 0.5)  # four weights of 1/2: they sum to 2
    features = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 16, 16)
    white = normal_like(torch.empty(1, 1, 32, 32), generator_from(0))
    tame = head(*features).solve_t(white)
    assert tame.abs().max() <= white.abs().max() / 0.5 * 200
    head.bounded = False
    assert head(*features).solve_t(white).abs().max() > 1e10


def test_samples_have_the_covariance(z):
    """20,000 draws: a covariance is known to sqrt(2 / 20,000) = 1% of the variances; five times."""
    given_z = small(radius=1).decode(z[:1])
    cholesky = given_z.precision_cholesky
    u = cholesky.sample(generator_from(1), 20_000).flatten(2)[:, 0]
    L = cholesky.dense()[0]
    sigma = torch.linalg.inv(L @ L.T)
    deviation = sigma.diagonal().sqrt()
    assert ((u.T.cov() - sigma) / deviation / deviation[:, None]).abs().max() < 0.05
    one = given_z.sample(generator_from(1))
    assert one.shape == given_z.mean.shape


def test_whitened_samples_are_white(z):
    """w = L^T (x - mean) of a draw is the noise it was made from."""
    given_z = small(radius=2).decode(z)
    x = given_z.sample(generator_from(2))
    white = given_z.precision_cholesky.matvec_t(x - given_z.mean)
    expected = normal_like(given_z.mean, generator_from(2))
    torch.testing.assert_close(white, expected, rtol=0, atol=1e-9)


def test_gradients_reach_the_latent(z):
    model = small(radius=1)

    def value(z):
        given_z = model.decode(z)
        return given_z.log_prob(torch.full_like(given_z.mean, 0.3)).sum()

    assert torch.autograd.gradcheck(value, z[:1].clone().requires_grad_())


@pytest.mark.parametrize("name", ["portraits64", "photos64"])
def test_shipped_weights(name):
    """The frozen part is bit for bit that of the VAE, and L explains what it leaves out."""
    model, vae = load_pretrained(f"structured_vae_{name}"), load_pretrained(f"vae_{name}")
    for part in ("encoder", "decoder"):
        ours, theirs = getattr(model, part).state_dict(), getattr(vae, part).state_dict()
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    figures = read_card(f"structured_vae_{name}")["figures"]
    diagonal = read_card(f"diagonal_vae_{name}")["figures"]
    assert figures["nll"]["value"] < diagonal["nll"]["value"] < figures["nll_isotropic"]["value"]
    x = load_world("portraits" if "portraits" in name else "photos", "test", 8, progress=False)[:8]
    given_z = model.decode(model.encode(x).mean)
    white = given_z.precision_cholesky.matvec_t(x - given_z.mean)
    # 0.455 for white Gaussian noise. Contours of photographs are heavy-tailed: the mean square, 1
    # on the training set, is above 2 on the first crops of the held-out ones.
    assert 0.25 < white.square().median() < 0.7
    drawn = given_z.sample(generator_from(0)) - given_z.mean
    assert drawn.abs().max() < 1  # no explosion
    assert isinstance(given_z, StructuredNormal)


def test_the_head_sees_the_mean_on_the_range_of_networks(z):
    """Beside the features it takes 2 mean - 1."""
    model, seen = small(radius=1), []
    model.head.from_fine.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    mean = model.decode(z).mean
    torch.testing.assert_close(seen[0][:, -1:], 2 * mean - 1, rtol=0, atol=0)
