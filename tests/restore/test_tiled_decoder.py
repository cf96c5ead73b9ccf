"""Tiles that cannot be told from the whole: laws, gradients, fits and samples are the same.

The tests run in float64, where the only difference is the order in which convolutions sum.
"""

import pytest
import torch
from torch import Tensor

from course_lib.inference.vble import VBLE, StochasticAdam
from course_lib.models.structured_vae import structured_vae
from course_lib.models.vae_networks import compact_vae, conv_vae
from course_lib.operators import Denoising
from course_lib.restore import TiledDecoder
from course_lib.rng import generator_from, normal_like

SIZE = {"channels": (4, 6, 8), "latent_channels": 3, "tail": 4}
SHAPE = (1, 216, 280)
TILE = 232  # 9 x 9 latents inside: 3 x 4 tiles an image
ROUNDING = 1e-12  # of values around 1, through some twenty convolutions


@pytest.fixture(params=["white", "structured"])
def vae(request):
    """Untrained, but with every weight at work: fresh heads are zero and would hide a fault."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        structured = request.param == "structured"
        model = structured_vae(**SIZE, width=4) if structured else conv_vae(**SIZE)
    g = generator_from(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * normal_like(parameter, g)
    return model.double().eval().requires_grad_(False)


def latents(vae, n=1) -> Tensor:
    return vae.prior(n, generator=generator_from(2), img_size=SHAPE[1:])


def numbers(law) -> list[Tensor]:
    L = getattr(law, "precision_cholesky", None)
    return [law.mean, *((law.stddev,) if L is None else (L.diagonal, L.offdiagonal))]


def test_the_law_is_that_of_the_whole_image(vae):
    z = latents(vae)
    for whole, tiled in zip(
        numbers(vae.decode(z)), numbers(TiledDecoder(vae, tile=TILE).decode(z)), strict=True
    ):
        torch.testing.assert_close(tiled, whole, rtol=ROUNDING, atol=ROUNDING)


def test_ten_latents_are_needed_and_enough(vae):
    """With fewer the tiles would show; the reach of the mean is 9, that of L 10."""
    z = latents(vae)
    whole = numbers(vae.decode(z))

    def gap(reach: int) -> float:
        tiles = TiledDecoder(vae, tile=16 * reach + 72, reach=reach)
        return max(
            (a - b).abs().max().item() for a, b in zip(numbers(tiles.decode(z)), whole, strict=True)
        )

    assert gap(10) <= ROUNDING * whole[-1].abs().max()
    assert gap(4) > 1e-8


def test_gradients_are_those_of_the_whole_image(vae):
    def gradient(model) -> Tensor:
        z = latents(vae).requires_grad_()
        parts = numbers(model.decode(z))
        weights = [normal_like(part, generator_from(k)) for k, part in enumerate(parts)]
        loss = sum((part * w).sum() for part, w in zip(parts, weights, strict=True))
        return torch.autograd.grad(loss, z)[0]

    whole = gradient(vae)
    assert (gradient(TiledDecoder(vae, tile=TILE)) - whole).norm() <= ROUNDING * whole.norm()


@pytest.mark.slow
def test_a_restoration_in_tiles_is_that_of_the_whole_image(vae):
    """Estimate, spread and samples alike: the same noise meets the same numbers."""
    op = Denoising(SHAPE)
    y = torch.rand(1, *SHAPE, generator=generator_from(3), dtype=torch.float64)

    def posterior(model):
        return VBLE(model).fit(
            op, y, noise=0.1, optimiser=StochasticAdam(2), generator=generator_from(4)
        )

    whole, tiled = posterior(vae), posterior(TiledDecoder(vae, tile=TILE))
    # Adam divides by the size of the gradient: where that is near zero, rounding is enlarged.
    for name, part in whole.parameters.items():
        torch.testing.assert_close(tiled.parameters[name], part, rtol=0, atol=1e-8)
    drawn = [p.sample(1, generator_from(5)) for p in (whole, tiled)]
    torch.testing.assert_close(drawn[1], drawn[0], rtol=0, atol=1e-7)


def test_memory_is_bounded_by_the_tile(vae):
    """No more pixels at once than the tile has, whatever the image and the batch."""
    sizes = []
    hook = vae.decoder[0].register_forward_hook(lambda _, z, __: sizes.append(z[0][:, 0].numel()))
    TiledDecoder(vae, tile=TILE).decode(latents(vae, 2))
    hook.remove()
    assert len(sizes) == 2 * 12
    assert max(sizes) * 64 <= TILE**2


def test_small_images_go_through_as_they_are(vae):
    counted = []
    tiles = TiledDecoder(vae, tile=TILE, tick=counted.append)
    z = vae.prior(4, generator=generator_from(0))
    assert torch.equal(tiles.decode(z).mean, vae.decode(z).mean)
    tiles.decode(latents(vae))
    assert counted[0] == 4 * 64 * 64
    assert sum(counted[1:]) == SHAPE[1] * SHAPE[2]


def test_what_cannot_be_tiled_is_refused(vae):
    with pytest.raises(ValueError, match="one latent vector for images of"):
        TiledDecoder(compact_vae(channels=(4, 4, 4), latent_dim=2, width=8))
    with pytest.raises(ValueError, match="a tile of more than 167 pixels, got 10 and 160"):
        TiledDecoder(vae, tile=160)
