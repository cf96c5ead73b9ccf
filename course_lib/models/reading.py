"""Mode coverage of samples of plates, by the characters that a classifier reads."""

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.models.pretrained import load_pretrained


class Reading(NamedTuple):
    """Characters of a set of samples, as the classifier of plates reads them."""

    character: Tensor  # the most probable one of each sample
    confidence: Tensor  # its probability
    readable: float  # fraction of the samples with a confidence above 0.9
    characters: int  # number of characters with at least a fifth of the mean frequency
    entropy: float  # of the frequencies of the characters, in nats; log 36 where all are equal


@torch.no_grad()
def read_samples(samples: Tensor) -> Reading:
    """Characters, and their frequencies among readable samples, of plates (n, 1, H, W)."""
    reader = load_pretrained("classifier_plates", samples.device)
    log_p = torch.cat([reader(part) for part in samples.split(256)])
    confidence, character = log_p.exp().max(1)
    clear = confidence > 0.9
    counts = torch.bincount(character[clear], minlength=log_p.shape[1]).double()
    alive = (counts > 0) & (counts >= counts.sum() / (5 * len(counts)))
    frequencies = counts / counts.sum().clamp(min=1)
    return Reading(
        character,
        confidence,
        clear.double().mean().item(),
        int(alive.sum()),
        -torch.special.xlogy(frequencies, frequencies).sum().item(),
    )
