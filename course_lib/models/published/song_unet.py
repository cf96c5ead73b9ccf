"""The U-Nets DDPM++ and NCSN++ of the published EDM weights, with their names of parameters.

Written anew from the description in the papers; only what inference needs. A network takes images
(B, C, H, W) in the range that it was trained in and a number for the noise level.

Source: Song et al. 2021, arXiv:2011.13456, appendix H; Karras et al. 2022, arXiv:2206.00364,
appendix F.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from course_lib.models.published.song_layers import (
    Conv2d,
    FourierEmbedding,
    PositionalEmbedding,
    UNetBlock,
    group_norm,
)
from course_lib.project import CourseError


@dataclass(frozen=True)
class SongUNetForm:
    """Options of a network, under the names that the published files give them.

    Args:
        img_resolution, img_channels: side and channels of the images.
        label_dim: number of classes, 0 if there are none.
        augment_dim: count of the numbers that tell how an image was augmented in training; at
            inference it was not, and they are left out.
        model_channels: channels at full resolution, times `channel_mult` at each next one.
        channel_mult_emb: width of the embedding of the noise level, in units of `model_channels`.
        num_blocks: residual blocks at each resolution.
        attn_resolutions: sides of the maps with attention.
        embedding_type, channel_mult_noise: "positional" (DDPM++) or "fourier" (NCSN++), and its
            number of channels in units of `model_channels`.
        encoder_type: "standard" (DDPM++), or "residual" (NCSN++): the image itself is shrunk beside
            the encoder and added at each resolution.
        resample_filter: filter of the changes of resolution, (1, 1) or (1, 3, 3, 1).

    Raises:
        CourseError: a variant that no published EDM file has.
    """

    img_resolution: int
    img_channels: int
    label_dim: int = 0
    augment_dim: int = 0
    model_channels: int = 128
    channel_mult: Sequence[int] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    num_blocks: int = 4
    attn_resolutions: Sequence[int] = (16,)
    embedding_type: Literal["positional", "fourier"] = "positional"
    channel_mult_noise: int = 1
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: Sequence[float] = (1, 1)

    def __post_init__(self) -> None:
        known = self.encoder_type in ("standard", "residual")
        if not known or self.decoder_type != "standard":
            raise CourseError(
                f"SongUNet: expected a standard or residual encoder and a standard decoder, got "
                f"{self.encoder_type} and {self.decoder_type}."
            )


class SongUNet(nn.Module):
    """A U-Net with residual blocks at each resolution, of a given form."""

    def __init__(self, form: SongUNetForm) -> None:
        super().__init__()
        width = form.model_channels * form.channel_mult_emb
        noise = form.model_channels * form.channel_mult_noise
        fourier = form.embedding_type == "fourier"
        self.map_noise = FourierEmbedding(noise) if fourier else PositionalEmbedding(noise)
        self.map_label = nn.Linear(form.label_dim, noise) if form.label_dim else None
        augment = form.augment_dim
        self.map_augment = nn.Linear(augment, noise, bias=False) if augment else None
        self.map_layer0, self.map_layer1 = nn.Linear(noise, width), nn.Linear(width, width)
        block = partial(UNetBlock, width=width, filter_taps=form.resample_filter)
        levels = [
            (form.img_resolution >> level, form.model_channels * multiple)
            for level, multiple in enumerate(form.channel_mult)
        ]
        self.enc, self.dec, bridges = nn.ModuleDict(), nn.ModuleDict(), []
        c, beside = form.model_channels, form.img_channels
        for level, (side, outputs) in enumerate(levels):
            name, attends = f"{side}x{side}", side in form.attn_resolutions
            if level == 0:
                self.enc[f"{name}_conv"] = Conv2d(form.img_channels, c, 3)
            else:
                self.enc[f"{name}_down"] = block(c, c, down=True)
                if form.encoder_type == "residual":
                    taps = form.resample_filter
                    residual = Conv2d(beside, c, 3, down=True, filter_taps=taps, fused=True)
                    self.enc[f"{name}_aux_residual"], beside = residual, c
            bridges.append(c)
            for k in range(form.num_blocks):
                self.enc[f"{name}_block{k}"] = block(c, outputs, attention=attends)
                bridges.append(c := outputs)
        for level, (side, outputs) in reversed([*enumerate(levels)]):
            name, attends = f"{side}x{side}", side in form.attn_resolutions
            if level == len(levels) - 1:
                self.dec[f"{name}_in0"] = block(c, c, attention=True)
                self.dec[f"{name}_in1"] = block(c, c)
            else:
                self.dec[f"{name}_up"] = block(c, c, up=True)
            for k in range(form.num_blocks + 1):
                last = attends and k == form.num_blocks
                self.dec[f"{name}_block{k}"] = block(c + bridges.pop(), outputs, attention=last)
                c = outputs
        self.dec[f"{name}_aux_norm"] = group_norm(c)
        self.dec[f"{name}_aux_conv"] = Conv2d(c, form.img_channels, 3)

    def forward(self, x: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        """The raw output for noise levels (B,); with classes, for their labels (B, classes)."""
        noise = self.map_noise(level)
        if self.map_label is not None:
            if labels is None:
                raise ValueError("SongUNet: this network was trained with classes: pass labels.")
            noise = noise + self.map_label(labels * math.sqrt(self.map_label.in_features))
        noise = silu(self.map_layer1(silu(self.map_layer0(noise))))
        bridges, beside = [], x
        for name, layer in self.enc.items():
            if name.endswith("aux_residual"):
                x = bridges[-1] = beside = (x + layer(beside)) / math.sqrt(2)
            else:
                x = layer(x, noise) if isinstance(layer, UNetBlock) else layer(x)
                bridges.append(x)
        for layer in self.dec.values():
            if isinstance(layer, UNetBlock):
                if x.shape[1] != layer.inputs:
                    x = torch.cat([x, bridges.pop()], dim=1)
                x = layer(x, noise)
            else:
                x = silu(layer(x)) if isinstance(layer, nn.GroupNorm) else layer(x)
        return x
