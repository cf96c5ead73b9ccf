"""Layers of the published networks, each against its formula."""

import math

import pytest
import torch

from course_lib.models.published.song_layers import (
    Conv2d,
    FourierEmbedding,
    PositionalEmbedding,
    UNetBlock,
)


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_resampling_keeps_a_constant(taps, direction):
    """A filter that sums to one, and to four where three of four pixels are zeros in between."""
    layer = Conv2d(1, 1, 1, filter_taps=taps, **{direction: True}).double()
    layer.weight.data.fill_(1.0)
    found = layer(torch.ones(1, 1, 8, 8, dtype=torch.float64))
    side = 16 if direction == "up" else 4
    assert found.shape == (1, 1, side, side)
    inside = found[..., 1:-1, 1:-1]  # zeros beyond the border mix in at the outermost pixels
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_attention_of_one_head():
    """softmax(q^T k / sqrt(c)) over positions; q, k, v take turns in the channels."""
    torch.manual_seed(0)
    block = UNetBlock(8, 8, 4, attention=True, filter_taps=(1, 1)).double()
    x, noise = torch.randn(2, 8, 3, 3).double(), torch.randn(2, 4).double()
    without = UNetBlock(8, 8, 4, filter_taps=(1, 1)).double()
    without.load_state_dict(
        {k: v for k, v in block.state_dict().items() if k in without.state_dict()}
    )
    h = without(x, noise)
    q, k, v = block.qkv(block.norm2(h)).flatten(2).unflatten(1, (8, 3)).unbind(2)
    weights = torch.einsum("bcq,bck->bqk", q, k).div(math.sqrt(8)).softmax(2)
    attended = block.proj(torch.einsum("bqk,bck->bcq", weights, v).view(2, 8, 3, 3))
    torch.testing.assert_close(block(x, noise), (h + attended) / math.sqrt(2))


def test_embeddings():
    level = torch.tensor([0.3, -1.2])
    found = PositionalEmbedding(6)(level)
    angle = level[:, None] * torch.tensor([1.0, 1e-2, 1e-4])
    torch.testing.assert_close(found, torch.cat([angle.sin(), angle.cos()], 1))
    fourier = FourierEmbedding(4)
    angle = 2 * math.pi * level[:, None] * fourier.freqs
    torch.testing.assert_close(fourier(level), torch.cat([angle.sin(), angle.cos()], 1))
