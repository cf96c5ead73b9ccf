"""The U-Nets DDPM++ and NCSN++ of the published EDM weights, with their names of parameters.

Written anew from the description in the papers; only what inference needs. A network takes images
(B, C, H, W) in the range that it was trained in and a number for the noise level.

Source: Song et al. 2021, arXiv:2011.13456, appendix H; Karras et al. 2022, arXiv:2206.00364,
appendix F.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, silu

from course_lib.project import CourseError

EPS = 1e-6  # of the normalisations


class SongUNet(nn.Module):
    """A U-Net with `num_blocks` residual blocks at each resolution.

    Args:
        img_resolution: side of the images.
        in_channels, out_channels: of the images.
        label_dim: number of classes, 0 if there are none.
        augment_dim: of the numbers that tell how an image was augmented in training; at inference
            it was not, and they are left out.
        model_channels: channels at full resolution, times `channel_mult` at each next one.
        attn_resolutions: sides of the maps with attention.
        embedding_type, channel_mult_noise: "positional" (DDPM++) or "fourier" (NCSN++), and its
            number of channels in units of `model_channels`.
        encoder_type: "standard" (DDPM++), or "residual" (NCSN++): the image itself is shrunk beside
            the encoder and added at each resolution.
        resample_filter: of the changes of resolution, (1, 1) or (1, 3, 3, 1).

    Raises:
        CourseError: a variant that no published EDM file has.
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        embedding_type: str = "positional",
        channel_mult_noise: int = 1,
        encoder_type: str = "standard",
        decoder_type: str = "standard",
        resample_filter: Sequence[float] = (1, 1),
        **of_training: float,  # dropout, label_dropout
    ) -> None:
        super().__init__()
        if encoder_type not in ("standard", "residual") or decoder_type != "standard":
            raise CourseError(
                f"SongUNet: expected a standard or residual encoder and a standard decoder, got "
                f"{encoder_type} and {decoder_type}."
            )
        width, noise = model_channels * channel_mult_emb, model_channels * channel_mult_noise
        fourier = embedding_type == "fourier"
        self.map_noise = FourierEmbedding(noise) if fourier else PositionalEmbedding(noise)
        self.map_label = nn.Linear(label_dim, noise) if label_dim else None
        self.map_augment = nn.Linear(augment_dim, noise, bias=False) if augment_dim else None
        self.map_layer0, self.map_layer1 = nn.Linear(noise, width), nn.Linear(width, width)

        def block(inputs: int, outputs: int, **options) -> UNetBlock:
            return UNetBlock(inputs, outputs, width, filter_taps=resample_filter, **options)

        self.enc, self.dec, bridges = nn.ModuleDict(), nn.ModuleDict(), []
        c, beside = in_channels, in_channels
        for level, multiple in enumerate(channel_mult):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == 0:
                self.enc[f"{name}_conv"] = Conv2d(in_channels, model_channels, 3)
                c = model_channels
            else:
                self.enc[f"{name}_down"] = block(c, c, down=True)
                if encoder_type == "residual":
                    residual = Conv2d(
                        beside, c, 3, down=True, filter_taps=resample_filter, fused=True
                    )
                    self.enc[f"{name}_aux_residual"], beside = residual, c
            bridges.append(c)
            for k in range(num_blocks):
                outputs = model_channels * multiple
                attends = side in attn_resolutions
                self.enc[f"{name}_block{k}"] = block(c, outputs, attention=attends)
                bridges.append(c := outputs)
        coarsest = len(channel_mult) - 1
        for level, multiple in reversed(list(enumerate(channel_mult))):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == coarsest:
                self.dec[f"{name}_in0"] = block(c, c, attention=True)
                self.dec[f"{name}_in1"] = block(c, c)
            else:
                self.dec[f"{name}_up"] = block(c, c, up=True)
            for k in range(num_blocks + 1):
                outputs = model_channels * multiple
                attends = k == num_blocks and side in attn_resolutions
                self.dec[f"{name}_block{k}"] = block(c + bridges.pop(), outputs, attention=attends)
                c = outputs
        self.dec[f"{name}_aux_norm"] = group_norm(c)
        self.dec[f"{name}_aux_conv"] = Conv2d(c, out_channels, 3)

    def forward(self, x: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        """The raw output for noise levels (B,); with classes, for their labels (B, classes)."""
        noise = self.map_noise(level)
        if self.map_label is not None:
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


class UNetBlock(nn.Module):
    """Two convolutions, the noise level added between them, and attention if asked for.

    Sums of two branches are divided by sqrt(2), which keeps their variance.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        *,
        up: bool = False,
        down: bool = False,
        attention: bool = False,
        filter_taps: Sequence[float],
    ) -> None:
        super().__init__()
        resample = {"up": up, "down": down, "filter_taps": filter_taps}
        self.inputs, self.attends = inputs, attention
        self.norm0, self.norm1 = group_norm(inputs), group_norm(outputs)
        self.conv0, self.conv1 = Conv2d(inputs, outputs, 3, **resample), Conv2d(outputs, outputs, 3)
        self.affine = nn.Linear(width, outputs)
        changes = up or down or inputs != outputs
        self.skip = Conv2d(inputs, outputs, 1, **resample) if changes else None
        if attention:
            self.norm2 = group_norm(outputs)
            self.qkv, self.proj = Conv2d(outputs, 3 * outputs, 1), Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        h = self.conv0(silu(self.norm0(x))) + self.affine(noise)[:, :, None, None]
        h = self.conv1(silu(self.norm1(h)))
        x = (h + (x if self.skip is None else self.skip(x))) / math.sqrt(2)
        return (x + self._attend(x)) / math.sqrt(2) if self.attends else x

    def _attend(self, x: Tensor) -> Tensor:
        """One head; queries, keys and values take turns in the channels of `qkv`."""
        b, c, height, width = x.shape
        q, k, v = self.qkv(self.norm2(x)).view(b, c, 3, height * width).unbind(2)
        weights = (q.transpose(1, 2) @ k / math.sqrt(c)).softmax(dim=2)
        return self.proj((v @ weights.transpose(1, 2)).view(b, c, height, width))


class Conv2d(nn.Module):
    """A convolution, before or after which the resolution is doubled or halved by a filter.

    Args:
        fused: filter and convolution share one padding, of both together.
    """

    resample_filter: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        up: bool = False,
        down: bool = False,
        filter_taps: Sequence[float] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs * size**2)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.up, self.down, self.fused = up, down, fused
        taps = torch.tensor(filter_taps, dtype=torch.float32)
        kernel = torch.outer(taps, taps)[None, None] / taps.sum().square()
        self.register_buffer("resample_filter", kernel if up or down else None)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        if self.fused:  # down only
            reach = padding + (self.resample_filter.shape[-1] - 1) // 2
            x = conv2d(x, self.weight, padding=reach)
            return self._shrink(x, 0) + self.bias[:, None, None]
        if self.up or self.down:
            reach = (self.resample_filter.shape[-1] - 1) // 2
            x = self._grow(x, reach) if self.up else self._shrink(x, reach)
        return conv2d(x, self.weight, self.bias, padding=padding)

    def _shrink(self, x: Tensor, padding: int) -> Tensor:
        c = x.shape[1]
        kernel = self.resample_filter.expand(c, -1, -1, -1)
        return conv2d(x, kernel, stride=2, padding=padding, groups=c)

    def _grow(self, x: Tensor, padding: int) -> Tensor:
        c = x.shape[1]
        kernel = (4 * self.resample_filter).expand(c, -1, -1, -1)
        return conv_transpose2d(x, kernel, stride=2, padding=padding, groups=c)


class PositionalEmbedding(nn.Module):
    """Sines, then cosines, of frequencies 1 to 1 / 10000."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2

    def forward(self, level: Tensor) -> Tensor:
        ramp = torch.arange(self.half, dtype=level.dtype, device=level.device) / (self.half - 1)
        angle = level[:, None] * (1 / 10_000) ** ramp
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class FourierEmbedding(nn.Module):
    """Sines, then cosines, of random frequencies, which are part of the weights."""

    freqs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(channels // 2))

    def forward(self, level: Tensor) -> Tensor:
        angle = 2 * math.pi * level[:, None] * self.freqs
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 4 channels or more, at most 32 groups."""
    return nn.GroupNorm(min(32, channels // 4), channels, eps=EPS)
