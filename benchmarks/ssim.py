"""SSIM of a batch against scikit-image and torchmetrics, in float32 on one thread.

All three use the Gaussian window of 11 pixels and standard deviation 1.5, population covariances
and data range 1. scikit-image takes one image at a time; torchmetrics treats the border in its own
way, which its gap shows. Competitors take turns and the median turn counts; a ratio is the peer's
time over ours. The gap is the largest difference from scikit-image in float64.

    python benchmarks/ssim.py     half a minute; writes book/results/benchmarks_ssim.json
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch
from skimage.metrics import structural_similarity

from course_lib.metrics import ssim
from course_lib.operators.torchvision_shim import make_torchvision_importable
from course_lib.results import Result, machine, store_results

make_torchvision_importable()
from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: E402

SHAPES = {"8x256_grey": (8, 1, 256, 256), "4x256_colour": (4, 3, 256, 256), "512": (1, 1, 512, 512)}
ROUNDS = 9


def scikit_image(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(x.numpy(), y.numpy(), strict=True)
    values = [
        structural_similarity(a, b, channel_axis=0, data_range=1, **options) for a, b in pairs
    ]
    return torch.tensor(values)


def torchmetrics(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")


PEERS: dict[str, Callable] = {
    "ours": ssim,
    "scikit_image": scikit_image,
    "torchmetrics": torchmetrics,
}


def measure(name: str, shape: tuple[int, ...]) -> list[Result]:
    """Time one batch, print its lines, and return its numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    y = (x + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    exact, turns = scikit_image(x, y), {peer: [] for peer in PEERS}
    x, y = x.float(), y.float()
    for _ in range(ROUNDS + 1):  # the first round warms up
        for peer, run in PEERS.items():
            start = perf_counter()
            run(x, y)
            turns[peer].append(perf_counter() - start)
    milliseconds = {peer: 1e3 * median(times[1:]) for peer, times in turns.items()}
    data = f"random images {'x'.join(map(str, shape))}, float32"
    results = []
    for peer, run in PEERS.items():
        ratio = milliseconds[peer] / milliseconds["ours"]
        gap = (run(x, y) - exact).abs().max().item()
        print(f"{name:14} {peer:14} {milliseconds[peer]:9.2f} ms {ratio:7.1f} gap {gap:.0e}")
        results.append(Result(f"ssim_{name}_{peer}", milliseconds[peer], "ms", None, data, 1, 0))
        if peer != "ours":
            results.append(Result(f"ssim_{name}_vs_{peer}", ratio, "ratio", None, data, 1, 0))
    return results


def main() -> None:
    torch.set_num_threads(1)
    provenance = {
        "experiment": "ssim",
        "budget": "full",
        "command": "python benchmarks/ssim.py",
        "machine": f"1 thread of {machine()}",
    }
    results = [result for name, shape in SHAPES.items() for result in measure(name, shape)]
    store_results("benchmarks_ssim", [replace(result, **provenance) for result in results])


if __name__ == "__main__":
    main()
