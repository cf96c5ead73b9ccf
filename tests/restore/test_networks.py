"""Tiles must add up: a network that acts pixel by pixel or locally cannot tell the difference."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from course_lib.restore import apply_in_tiles, keep_intact
from course_lib.rng import generator_from


@pytest.mark.parametrize("size", [(64, 64), (40, 50), (130, 97), (256, 256)])
@pytest.mark.parametrize("overlap", [0, 5, 16])
def test_pixelwise_network_is_unchanged(size, overlap):
    """Weights that sum to one: exact but for their rounding."""
    x = torch.rand(2, 3, *size, generator=generator_from(0), dtype=torch.float64)
    mask = (x[:, :1] > 0.8).double()
    out = apply_in_tiles(
        lambda image, hole: image**2 + hole, x, mask, tile=32, overlap=overlap, batch=7
    )
    torch.testing.assert_close(out, x**2 + mask, rtol=1e-14, atol=0)


def test_batches_do_not_matter():
    x = torch.rand(3, 1, 90, 70, generator=generator_from(0))

    def network(image, mask):
        return image - image.mean((2, 3), keepdim=True)

    small, large = (apply_in_tiles(network, x, tile=32, overlap=8, batch=b) for b in (1, 1000))
    torch.testing.assert_close(small, large, rtol=0, atol=1e-6)  # sums in another order


def test_seams_fade():
    """A network that paints every tile in another grey: steps between pixels stay small."""
    levels = iter(torch.rand(100, generator=generator_from(1)))
    x = torch.zeros(1, 1, 128, 128)
    network = lambda image, mask: torch.stack(  # noqa: E731
        [torch.full_like(one, float(next(levels))) for one in image]
    )
    jumps = apply_in_tiles(network, x, tile=32, overlap=16).diff(dim=-1).abs().max()
    assert jumps < 2 / 16  # differences below 1 spread over 16 pixels, twice as steep at the ends


@pytest.mark.parametrize("overlap", [0, 1, 5, 16])
def test_weights_in_closed_form(overlap):
    """Two tiles painted 0 and 1: in the overlap the second weighs k / (overlap + 1), k = 1, 2, ...

    The weight of a tile at distance d = 1, 2, ... from its border is d, no more than overlap + 1.
    """
    tile, step = 32, 32 - overlap
    levels = iter([0.0, 1.0])
    network = lambda image, mask: torch.full_like(image, next(levels))  # noqa: E731
    x = torch.zeros(1, 1, tile, tile + step, dtype=torch.float64)
    found = apply_in_tiles(network, x, tile=tile, overlap=overlap, batch=1)
    rise = torch.arange(1, overlap + 1, dtype=torch.float64) / (overlap + 1)
    row = torch.cat([torch.zeros(step), rise, torch.ones(step)])
    torch.testing.assert_close(found, row.expand_as(found), rtol=1e-14, atol=0)


def test_weights_of_a_corner_are_products():
    """Four tiles of which one is painted: its weight is the product of the two ramps."""
    levels = iter([0.0, 0.0, 0.0, 1.0])
    network = lambda image, mask: torch.full_like(image, next(levels))  # noqa: E731
    x = torch.zeros(1, 1, 56, 56, dtype=torch.float64)
    found = apply_in_tiles(network, x, tile=32, overlap=8, batch=1)[0, 0]
    rise = torch.cat([torch.zeros(24), torch.arange(1, 9).double() / 9, torch.ones(24)])
    torch.testing.assert_close(found, rise[:, None] * rise, rtol=1e-14, atol=0)


def test_local_network_inside():
    """Away from the border a 3 x 3 mean is the same as on the whole image if tiles overlap by 2."""
    x = torch.rand(1, 1, 64, 64, generator=generator_from(2), dtype=torch.float64)

    def mean(image, mask=None):
        return avg_pool2d(image, 3, 1, 1, count_include_pad=False)

    gap = (apply_in_tiles(mean, x, tile=32, overlap=16) - mean(x)).abs()
    exact = apply_in_tiles(lambda image, hole: (image > 2).double(), x, tile=32, overlap=16)
    assert (exact == 0).all()
    assert gap[..., 4:12, 4:12].max() < 1e-14  # covered by one tile, far from its border
    assert gap.max() < 0.2  # a tile's border pixels weigh 1 / 17 at most of their own size


def test_errors():
    with pytest.raises(ValueError, match=r"overlap must be in 0 .. 16 for tile 32: 20"):
        apply_in_tiles(lambda x, m: x, torch.zeros(1, 1, 64, 64), tile=32, overlap=20)
    with pytest.raises(ValueError, match=r"too small for tiles of 64"):
        apply_in_tiles(lambda x, m: x, torch.zeros(1, 1, 20, 64))


def test_each_image_by_its_own_change():
    """A network that adds 0.01 and 0.1: the first image is kept outside its hole, not the other."""
    x = torch.rand(2, 3, 8, 8, generator=generator_from(0))
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:5, 1:4] = 1
    shift = torch.tensor([0.01, 0.1]).view(-1, 1, 1, 1)
    restored = keep_intact(lambda image, hole: image + shift, threshold=0.012)(x, mask)
    hole = mask.expand_as(x) > 0
    assert torch.equal(restored[0][~hole[0]], x[0][~hole[0]])
    assert torch.equal(restored[0][hole[0]], (x + shift)[0][hole[0]])
    assert torch.equal(restored[1], (x + shift)[1])


def test_the_hole_does_not_count():
    """However much is painted into the hole, the rest decides; all lost: nothing to keep."""
    x, mask = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., 0] = 1
    restored = keep_intact(lambda image, hole: image + hole + 0.001)(x, mask)
    assert torch.equal(restored, mask * 1.001)
    lost = torch.ones_like(mask)
    assert torch.equal(keep_intact(lambda image, hole: image + 1)(x, lost), x + 1)


@pytest.mark.parametrize(("threshold", "kept"), [(0.0105, True), (0.0095, False)])
def test_the_change_is_a_mean_over_what_is_seen(threshold, kept):
    """A change of 0.01 at every pixel that is seen, a quarter of all, is one of 0.01."""
    x, mask = torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    mask[..., :4, :4] = 0
    restored = keep_intact(lambda image, hole: image + 0.01, threshold)(x, mask)
    assert (restored[..., :4, :4] == 0).all() == kept
    assert (restored[..., 4:, :] == 0.01).all()


def test_negative_threshold():
    with pytest.raises(ValueError, match=r"at least 0, got -0\.1"):
        keep_intact(lambda image, hole: image, threshold=-0.1)
