"""What experiments of several chapters share: photographs, results from means, and from cards."""

from collections.abc import Mapping

import torch
from torch import Tensor

from course_lib.data import TEST_PHOTOS, Photos, load_photos
from course_lib.data.cache import ImageSet
from course_lib.data.real import Decoding, load_real
from course_lib.data.worlds import load_world
from course_lib.metrics import lpips, mean_half_width, psnr
from course_lib.metrics.fetched import weights_path
from course_lib.models import read_card
from course_lib.operators import Inpainting
from course_lib.results import Result

_BUNDLED = {"smoke": (2, 64), "class": (4, 128), "full": (len(TEST_PHOTOS), 256)}
N_PHOTOGRAPHS = 100  # of the 200 test photographs of BSDS500, in a stored table
Found = tuple[Tensor | float, str, float | None]  # values, unit, tolerance


def bundled_photographs(budget: str) -> tuple[Photos, str]:
    """The bundled photographs of a budget, and the words that describe them in a result."""
    count, size = _BUNDLED[budget]
    photos = load_photos(TEST_PHOTOS[:count], size)
    return photos, f"{count} photographs, {size} x {size} grey"


def photographs(budget: str, size: int = 256) -> tuple[Tensor, str]:
    """Photographs (B, 1, H, W) for a table, and the words that describe them in a result.

    At the full budget they are crops of the test photographs of BSDS500, one of each, of the given
    size in pixels; else the bundled photographs of that budget.
    """
    if budget != "full":
        photos, data = bundled_photographs(budget)
        return photos.images, data
    how = Decoding(size, progress=False)
    photos = load_real("bsds500_each", None, "test", N_PHOTOGRAPHS, how)
    return photos[:], f"{N_PHOTOGRAPHS} BSDS500 test photographs, {size} x {size} grey"


def load_images(world: str, split: str, n: int, budget: str) -> ImageSet:
    """The first n images of a world; photographs at the full budget are those of BSDS500.

    The splits "validation", to tune on, and "test" have no photograph in common.
    """
    name = "bsds500_each" if (world, budget) == ("photos", "full") else world
    return load_world(name, split, n, progress=False)


def mean(values: Tensor | float) -> float:
    """Mean as a number; of truth values, the share that holds."""
    return torch.as_tensor(values, dtype=torch.float64).mean().item()


def means(
    found: Mapping[str, Found], name: str, data: str, n: int, seed: int | None
) -> list[Result]:
    """One result for each entry: the mean of its values.

    Args:
        found: key -> values, unit, tolerance.
        name: name of a result, with "{}" where the key goes.
        data, n, seed: as in `Result`.
    """
    return [
        Result(name.format(key), mean(values), unit, tolerance, data, n, seed)
        for key, (values, unit, tolerance) in found.items()
    ]


def with_intervals(found: Mapping[str, Found]) -> dict[str, Found]:
    """Each entry, and as "half_key" half the width of the 95 % interval for its mean.

    Args:
        found: key -> values (n,) of independent images, n >= 2; unit; tolerance.
    """
    halves: dict[str, Found] = {}
    for key, (values, unit, _) in found.items():
        if isinstance(values, Tensor) and values.numel() > 1:
            halves[f"half_{key}"] = mean_half_width(values.double()), unit, None
    return {**found, **halves}


def perceptual(
    estimate: Tensor, truth: Tensor, budget: str, *, tolerance: float = 0.005
) -> dict[str, Found]:
    """LPIPS (alex) of images cut to [0, 1], as one more entry of what `means` takes.

    Without the fetched weights the entry is left out, except at budget "full": a stored table
    must not lose its column.

    Args:
        estimate, truth: (B, 1 or 3, H, W), at least 31 pixels a side.
        budget: "smoke", "class" or "full".
        tolerance: of the mean over images.

    Raises:
        NotFetched: budget "full" without the weights; `course fetch perceptual` gets them.
    """
    if budget != "full" and not weights_path("alex").is_file():
        return {}
    values = lpips(estimate.clamp(0, 1), truth.clamp(0, 1), net="alex")
    return {"lpips": (values, "", tolerance)}


def scores(
    estimates: Mapping[str, Tensor],
    truth: Tensor,
    budget: str,
    *,
    over: str,
    tolerance: float = 0.3,
) -> dict[str, Found]:
    """PSNR and LPIPS of every method, and its PSNR minus that of one of them, image by image.

    Args:
        estimates: method -> images (B, C, H, W), B >= 2.
        truth: the images themselves.
        budget: as in `perceptual`.
        over: the method that the others are compared with.
        tolerance: of a mean in dB; that of LPIPS is a fifteenth of it.

    Returns:
        Entries of what `means` takes: for each method "psnr_method" and "lpips_method", and except
        for `over` the differences "gain_method" and "lpips_gain_method", with half the widths of
        their 95 % intervals, "gain_half_method" and "lpips_gain_half_method".
    """
    found: dict[str, Found] = {}
    values = {method: {"psnr": psnr(x, truth)} for method, x in estimates.items()}
    for method, x in estimates.items():
        for key, (seen, *_) in perceptual(x, truth, budget).items():
            values[method][key] = torch.as_tensor(seen)
    small = {"psnr": ("dB", tolerance), "lpips": ("", tolerance / 15)}
    for method, kinds in values.items():
        for kind, value in kinds.items():
            unit, allowed = small[kind]
            gain = value - values[over][kind]
            words = "gain" if kind == "psnr" else f"{kind}_gain"
            found[f"{kind}_{method}"] = value, unit, allowed
            if method != over:
                found[f"{words}_{method}"] = gain, unit, allowed
                found[f"{words}_half_{method}"] = mean_half_width(gain), unit, None
    return found


def scores_in_hole(
    estimates: Mapping[str, Tensor], truth: Tensor, op: Inpainting, *, over: str
) -> dict[str, Found]:
    """PSNR over the pixels that nobody measured, and its difference from one method's.

    Args:
        estimates, truth, over: as in `scores`.
        op: inpainting of a rectangle.

    Returns:
        "inside_method", "inside_gain_method" and "inside_gain_half_method", as in `scores`.
    """
    lost = (op.mask == 0).expand(truth.shape[-3:])[0]
    rows, columns = lost.any(1), lost.any(0)

    def inside(x: Tensor) -> Tensor:
        return psnr(x[..., rows, :][..., columns], truth[..., rows, :][..., columns])

    found: dict[str, Found] = {}
    reference = inside(estimates[over])
    for method, x in estimates.items():
        found[f"inside_{method}"] = inside(x), "dB", 0.3
        if method != over:
            gain = inside(x) - reference
            found[f"inside_gain_{method}"] = gain, "dB", 0.3
            found[f"inside_gain_half_{method}"] = mean_half_width(gain), "dB", None
    return found


def figures_from_card(card_name: str, label: str, *, leave_out: str = "") -> list[Result]:
    """Held-out figures and training minutes of released weights, without tolerance.

    Args:
        card_name: name of the weights.
        label: what follows the name of a figure in the name of its result.
        leave_out: name of a figure that is not a result.
    """
    card, results = read_card(card_name), []
    for key, figure in card["figures"].items():
        if key != leave_out:
            found = {key: (figure["value"], figure["unit"], None)}
            results += means(found, f"{{}}_{label}", figure["data"], figure["n"], card["seed"])
    found = {"minutes": (card["minutes"], "min", None)}
    return results + means(found, f"{{}}_{label}", card["machine"], 1, card["seed"])
