"""The hole of a partial non-local block: nothing leaks out of it, and nothing into its outside."""

import pytest
import torch

from course_lib.models import LatentTranslation, PartialNonLocal
from course_lib.rng import generator_from


@pytest.fixture
def block():
    """A block whose every weight matters (the last projection starts at zero)."""
    generator = generator_from(0)
    block = PartialNonLocal(4).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return block


@pytest.fixture
def features():
    return torch.randn(2, 4, 5, 6, generator=generator_from(1), dtype=torch.float64)


@pytest.fixture
def hole():
    hole = torch.zeros(2, 1, 5, 6, dtype=torch.float64)
    hole[0, :, 1:3, 2:5] = 1
    hole[1, :, 0, 0] = 0.5  # a latent that is damaged in part counts as lost
    return hole


def test_attention_is_over_valid_positions(block, features, hole):
    attention = block.attention(features, hole)
    lost = hole.flatten(1) > 0
    torch.testing.assert_close(attention.sum(-1), torch.ones_like(attention.sum(-1)))
    for image, columns in zip(attention, lost, strict=True):
        assert (image[:, columns] == 0).all()


def test_attention_is_the_renormalised_softmax(block, features, hole):
    """Masking scores before the softmax = zeroing columns after it and dividing by row sums."""
    everything = block.attention(features, torch.zeros_like(hole))
    kept = everything * (hole.flatten(2) == 0)
    torch.testing.assert_close(
        block.attention(features, hole), kept / kept.sum(-1, keepdim=True), rtol=1e-12, atol=0
    )


def test_outside_the_hole_nothing_changes(block, features, hole):
    filled = block(features, hole)
    outside = (hole == 0).expand_as(features)
    assert torch.equal(filled[outside], features[outside])
    assert (filled[~outside] != features[~outside]).all()


def test_features_in_the_hole_are_not_gathered(block, features, hole):
    """What a position gathers depends on its own feature and on valid ones only."""
    changed = torch.where(hole > 0, features + 7.0, features)
    before = block.attention(features, hole)
    after = block.attention(changed, hole)
    rows = (hole.flatten(1) == 0)[0]
    assert torch.equal(before[0][rows], after[0][rows])


def test_no_hole_is_the_identity(block, features, hole):
    assert torch.equal(block(features, torch.zeros_like(hole)), features)


def test_all_hole_is_finite(block, features, hole):
    everything = torch.ones_like(hole)
    assert (block.attention(features, everything) == 0).all()
    assert block(features, everything).isfinite().all()


def test_translation_end_to_end():
    model = LatentTranslation(channels=[4, 6], latent_channels=2, width=8, blocks=2)
    x = torch.rand(2, 1, 16, 24, generator=generator_from(2))
    mask = torch.zeros(2, 1, 16, 24)
    mask[:, :, 5, 7] = 1
    with torch.no_grad():
        assert model(x, mask).shape == x.shape
        assert torch.equal(model(x), model(x, torch.zeros_like(mask)))
    with pytest.raises(ValueError, match=r"multiples of 4, got 18 x 24"):
        model(torch.rand(1, 1, 18, 24))


def test_one_damaged_pixel_makes_its_latent_a_hole():
    """A single pixel of the mask must not vanish on the way to the coarser grid."""
    model = LatentTranslation(channels=[4, 6], latent_channels=2, width=8, blocks=2)
    seen = []
    model.mapping.forward = lambda z, hole: seen.append(hole) or z
    mask = torch.zeros(1, 1, 16, 16)
    mask[0, 0, 9, 2] = 1
    model.translate(torch.zeros(1, 2, 4, 4), mask)
    assert seen[0].nonzero().tolist() == [[0, 0, 2, 0]]


def test_attention_is_the_scaled_product_of_queries_and_keys(block, features, hole):
    """softmax(q^T k / sqrt(channels of q)), here without a hole."""
    query, key = block.query(features).flatten(2), block.key(features).flatten(2)
    scores = torch.einsum("bcq,bck->bqk", query, key) / query.shape[1] ** 0.5
    found = block.attention(features, torch.zeros_like(hole))
    torch.testing.assert_close(found, scores.softmax(-1))
