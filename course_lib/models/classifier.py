"""A reader of plates: probabilities of characters, given a degraded image."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from course_lib.models.blocks import Centre, down_stage


class PlateReader(nn.Module):
    """log p(character | y) for y = A x + noise, at resolutions 1/1 to 1/16 and known noise.

    Trained with the cross-entropy on ever more plates, its optimum is the posterior of
    the characters itself; it is the reference that restorations of plates are held against.

    Args:
        channels: channels of the stages, each at half the resolution of the one before.
        classes: number of characters.
        img_size: side of a plate at full resolution, in pixels.
    """

    def __init__(
        self, *, channels: Sequence[int] = (32, 64, 96, 128), classes: int = 36, img_size: int = 64
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.features = nn.Sequential(
            Centre(),
            *(down_stage(a, b, blocks=1) for a, b in zip((3, *channels), channels, strict=False)),
            nn.SiLU(),
            nn.Flatten(),
        )
        n = channels[-1] * (img_size // 2 ** len(channels)) ** 2
        self.head = nn.Sequential(nn.Linear(n, 256), nn.SiLU(), nn.Linear(256, classes))

    def forward(
        self,
        y: Float[Tensor, "b 1 h w"],
        sigma: Float[Tensor, " batch"] | float = 0.0,
    ) -> Float[Tensor, "b classes"]:
        """Log-probabilities of the characters.

        Args:
            y: plates at 1/s of their resolution, s = img_size / h.
            sigma: standard deviation of the noise on y, in units of [0, 1].
        """
        factor = self.img_size / y.shape[-1]
        enlarged = interpolate(y, (self.img_size, self.img_size), mode="bilinear")
        noise = torch.as_tensor(sigma, dtype=y.dtype, device=y.device).expand(len(y))
        planes = torch.stack([noise * 5, torch.full_like(noise, factor).log2() / 4], dim=1)
        planes = planes[..., None, None].expand(-1, -1, *enlarged.shape[-2:])
        logits = self.head(self.features(torch.cat([enlarged, planes], dim=1)))
        return logits.float().log_softmax(-1)
