"""Colours as three grey images: (R + G + B) / 3 and two differences of colours.

The matrix is orthogonal but for a factor 1 / sqrt(3), so white noise of standard deviation sigma
stays white, with sigma / sqrt(3) in all three: brightness, which carries the detail, is seen more
clearly than any single colour is.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

OPPONENT_COLOURS = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
OPPONENT_COLOURS = OPPONENT_COLOURS / OPPONENT_COLOURS.norm(dim=1, keepdim=True)  # orthogonal
MIDDLE = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1)  # equal colours have differences of mid grey


def to_greys(colours: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 1 h w"]:
    """(R + G + B) / 3, and R - G and R + G - 2 B scaled alike and moved to the middle of [0, 1]."""
    mixed = torch.einsum("ij,jhw->ihw", OPPONENT_COLOURS.to(colours) / math.sqrt(3), colours)
    return (mixed + MIDDLE.to(colours))[:, None]


def from_greys(greys: Float[Tensor, "3 1 h w"]) -> Float[Tensor, "3 h w"]:
    """The colours again."""
    mixed = greys[:, 0] - MIDDLE.to(greys)
    return torch.einsum("ij,ihw->jhw", OPPONENT_COLOURS.to(greys) * math.sqrt(3), mixed)
