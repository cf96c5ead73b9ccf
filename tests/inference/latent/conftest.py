"""Every operator of the small world, and a VAE of which all is known."""

import pytest
from latent_world import OPERATORS, exact_vae


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


@pytest.fixture
def linear():
    return exact_vae()
