"""A repairer that leaves alone what needs no repair."""

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]  # (image, mask) -> restored image


def keep_intact(network: Network, threshold: float = 3 / 255) -> Network:
    """The network, but pixels outside the mask stay as they are in images it hardly changes.

    A network that was trained on worn photographs smooths intact ones a little. If outside the
    mask its answer differs from the image by less than the threshold, the difference is more
    likely its own error than damage.

    Args:
        network: from images (B, C, H, W) and masks (B, 1, H, W), 1 where pixels are lost.
        threshold: root mean square change, in units of [0, 1]. Three grey levels were chosen on
            photographs of the training, where they cost the worn ones next to nothing.

    Raises:
        ValueError: a negative threshold.
    """
    if threshold < 0:
        raise ValueError(f"keep_intact: threshold must be at least 0, got {threshold}.")

    def restore(image: Tensor, mask: Tensor) -> Tensor:
        restored = network(image, mask)
        seen = (mask == 0).to(image.dtype).expand_as(image)
        change = (seen * (restored - image)).square().sum((1, 2, 3))
        change = (change / seen.sum((1, 2, 3)).clamp(min=1)).sqrt()
        kept = (change < threshold).view(-1, 1, 1, 1) & (mask == 0)
        return torch.where(kept, image, restored)

    return restore
