"""Old photographs: find what is covered, restore the rest, fill the gaps. Nobody gives a mask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from scipy.ndimage import binary_dilation, distance_transform_edt
from torch import Tensor
from torch.nn.functional import pad

from course_lib.restore.networks import Network, apply_in_tiles
from course_lib.restore.photographs import from_greys, to_greys

LIKELY = 0.5  # probability of damage from which a pixel counts as lost
TILE, OVERLAP = 64, 16  # pixels; both networks were trained on squares of that side


class RestoredOldPhoto(NamedTuple):
    """An old photograph as it may have been.

    Attributes:
        estimate: (C, H, W), not clipped.
        mask: (1, H, W), 1 where pixels were taken to be lost.
    """

    estimate: Float[Tensor, "c h w"]
    mask: Float[Tensor, "1 h w"]


@dataclass(frozen=True, eq=False)
class OldPhotoRestorer:
    """Detection of damage, then a network that repairs and fills.

    The networks know grey pictures. Of a colour photograph they restore (R + G + B) / 3; the two
    differences of colours keep their values, and lost pixels take those of the nearest seen one.

    Args:
        detect: from pictures (B, 1, H, W) to the probability of damage at each pixel.
        repair: from pictures and masks (1 where pixels are lost) to restored pictures.
        device: where both work; results come back to where the photograph was.
    """

    detect: Callable[[Tensor], Tensor]
    repair: Network
    device: str = "cpu"

    @torch.no_grad()
    def restore(
        self, photo: Float[Tensor, "c h w"], mask: Tensor | None = None
    ) -> RestoredOldPhoto:
        """A photograph of any size.

        Args:
            photo: C = 1 or 3, values in [0, 1].
            mask: (1, H, W), 1 where pixels are lost; found by the detector if None.

        Raises:
            ValueError: a photograph that is neither grey nor in colour, or a mask of another size.
        """
        if photo.ndim != 3 or len(photo) not in (1, 3):
            raise ValueError(
                "OldPhotoRestorer: expected a photograph (C, H, W) with C = 1 or 3, got "
                f"{tuple(photo.shape)}."
            )
        if mask is not None and mask.shape[-2:] != photo.shape[-2:]:
            raise ValueError(
                f"OldPhotoRestorer: the mask has {tuple(mask.shape[-2:])} pixels, the photograph "
                f"{tuple(photo.shape[-2:])}."
            )
        greys = (to_greys(photo) if len(photo) == 3 else photo[None]).to(self.device)
        lost = self.find(greys[:1]) if mask is None else (mask > 0).to(greys)[None]
        restored = _in_tiles(self.repair, greys[:1], lost)
        estimate = restored[0]
        if len(photo) == 3:
            colours = _from_the_nearest(greys[1:], lost[0, 0])
            estimate = from_greys(torch.cat([restored, colours]))
        return RestoredOldPhoto(estimate.to(photo), lost[0].to(photo))

    def find(self, grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """The masks: 1 where damage is likely, and one pixel around it."""
        probability = _in_tiles(lambda x, _: self.detect(x), grey, torch.zeros_like(grey))
        likely = (probability > LIKELY).cpu().numpy()
        grown = binary_dilation(likely, torch.ones(1, 1, 3, 3).numpy())
        return torch.from_numpy(grown).to(grey)


def _in_tiles(network: Network, x: Tensor, mask: Tensor) -> Tensor:
    """In tiles; a picture that is smaller than one is continued by its border."""
    height, width = x.shape[-2:]
    sides = (0, max(TILE - width, 0), 0, max(TILE - height, 0))
    x, mask = (pad(part, sides, "replicate") for part in (x, mask))
    found = apply_in_tiles(network, x, mask, tile=TILE, overlap=OVERLAP)
    return found[..., :height, :width]


def _from_the_nearest(x: Tensor, lost: Float[Tensor, "h w"]) -> Tensor:
    """Lost pixels take the value of the nearest seen one; unchanged if none is seen."""
    if not lost.any() or lost.all():
        return x
    nearest: Any = distance_transform_edt(
        lost.cpu().numpy(), return_distances=False, return_indices=True
    )
    rows, columns = torch.from_numpy(nearest).to(x.device)
    return x[..., rows, columns]
