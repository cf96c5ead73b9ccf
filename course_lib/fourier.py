"""Periodic images in the Fourier basis: the only home of the half-spectrum conventions."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import irfft2, rfft2


def pad_and_centre(kernel: Float[Tensor, "... h w"], size: tuple[int, int]) -> Tensor:
    """Zero-pad a kernel to `size` and roll its centre (h // 2, w // 2) to pixel (0, 0)."""
    height, width = kernel.shape[-2:]
    padded = kernel.new_zeros(*kernel.shape[:-2], *size)
    padded[..., :height, :width] = kernel
    return padded.roll((-(height // 2), -(width // 2)), dims=(-2, -1))


def filter_image(x: Float[Tensor, "*batch h w"], transfer: Tensor) -> Tensor:
    """F^-1 diag(transfer) F x, in the dtype of x.

    `transfer` is a half spectrum as of rfft2 that broadcasts against (*batch, h, w // 2 + 1).
    """
    return irfft2(transfer * rfft2(x), s=x.shape[-2:]).to(x.dtype)


def squared_modulus(z: Tensor) -> Tensor:
    """|z|^2 without the square root that abs() would take first."""
    return z.real.square() + z.imag.square() if z.is_complex() else z.square()


def half_spectrum_weights(size: tuple[int, int]) -> Float[Tensor, "w2"]:
    """How often each column of the half spectrum occurs in the full one: 1, 2, ..., 2, (1 if even).

    Parseval with them: |x|^2 = sum(weights * |rfft2(x)|^2) / (H W).
    """
    width = size[1]
    weights = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    return weights


def spectral_mean(values: Float[Tensor, "... h w2"], size: tuple[int, int]) -> Tensor:
    """Mean over the full (H, W) grid of a symmetric quantity given on the half grid of rfft2."""
    weights = half_spectrum_weights(size).to(values)
    return (weights * values).sum((-2, -1)) / (size[0] * size[1])


def leave_one_out_spectrum(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w2"]:
    """For each image, the mean power spectrum of all the others, each without its mean.

    On the half grid of rfft2, as `wiener` takes it; no frequency is below 1e-6 of the average.
    """
    centred = images - images.mean((2, 3), keepdim=True)
    power = rfft2(centred).abs().square().mean(1, keepdim=True)
    others = (power.sum(0, keepdim=True) - power) / (len(images) - 1)
    return others.clamp(min=1e-6 * others.mean())


def frequencies(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Frequencies of the half spectrum in cycles per pixel, shaped (H, 1) and (1, W//2 + 1)."""
    rows = torch.fft.fftfreq(size[0], dtype=torch.float64)
    columns = torch.fft.rfftfreq(size[1], dtype=torch.float64)
    return rows[:, None], columns[None, :]


def radial_mean(values: Float[Tensor, "h w2"], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean over rings around frequency 0 of a quantity on the half grid; frequency 0 is left out.

    Returns:
        Radii in cycles per pixel, from one ring's width up to 1/2, and the means. A ring is as
        wide as one frequency of the shorter side.
    """
    rows, columns = frequencies(size)
    width = 1 / min(size)
    ring = (torch.hypot(rows, columns) / width).round().long().flatten()
    count = min(size) // 2 + 1
    kept = ring < count
    weights = half_spectrum_weights(size).expand(size[0], -1).flatten()[kept]
    total = torch.zeros(count, dtype=torch.float64)
    mass = total.index_add(0, ring[kept], weights)
    total = total.index_add(0, ring[kept], weights * values.double().flatten()[kept])
    radii = torch.arange(1, count, dtype=torch.float64) * width
    return radii, total[1:] / mass[1:]
