"""Numbers of chapter 6: what autoencoders keep, how a loss kills one, and who repairs best."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from course_lib.data import plates
from course_lib.data.degradations import faded, old_photo, shifted_old_photo, structured
from course_lib.experiments.shared import (
    N_PHOTOGRAPHS,
    Found,
    figures_from_card,
    load_images,
    means,
    photographs,
    scores,
)
from course_lib.inference.classical import oracle_median_tv
from course_lib.metrics import mean_half_width, psnr
from course_lib.models import VAE, LinearAutoencoder, compact_vae, load_pretrained
from course_lib.restore import apply_in_tiles, keep_intact
from course_lib.restore.methods import choose_old_photo_restorer
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.training import NegativeElbo, Objective, Settings, UnscaledElbo, train

CHAPTER = "06_autoencoders"
N_IN_TILES = 20
VAES = ("plates64", "portraits64", "photos64", "plates64_compact", "portraits64_compact")
DAMAGES = {
    "unstructured": partial(old_photo, structured=False),
    "structured": structured,
    "both": old_photo,
    "faded": faded,
    "shifted": shifted_old_photo,
}


@experiment(CHAPTER)
def principal_components(budget: str) -> list[Result]:
    """PSNR of k principal components and of the compact VAE, on held-out plates."""
    n_train, n_test = {"smoke": (256, 32), "class": (2000, 128), "full": (4000, 512)}[budget]
    clean = plates.sample(torch.arange(n_train), seed=0)[0]
    test = plates.sample(torch.arange(n_test), seed=2)[0]
    estimates = {
        f"pca_{k}": LinearAutoencoder.principal_components(clean, min(k, n_train))(test)
        for k in (8, 32, 128)
    }
    estimates["compact_same_plates"] = load_pretrained("vae_plates64_compact").reconstruct(test)
    found: dict[str, Found] = {name: (psnr(x, test), "dB", 0.05) for name, x in estimates.items()}
    gain = found["compact_same_plates"][0] - found["pca_32"][0]
    found["compact_gain"] = gain, "dB", 0.05
    found["compact_gain_half"] = mean_half_width(gain), "dB", None
    return means(found, "{}", f"{n_test} held-out plates, components of {n_train}", n_test, 0)


@experiment(CHAPTER, cheap=True)
def autoencoders(_budget: str) -> list[Result]:
    """Figures of the released VAEs, from their cards; the tolerance is that of a new training."""
    return [result for name in VAES for result in figures_from_card(f"vae_{name}", name)]


@experiment(CHAPTER)
def loss_scale(budget: str) -> list[Result]:
    """Active latents and error of one small VAE, trained by two losses that differ in scale."""
    steps = {"smoke": 20, "class": 300, "full": 1000}[budget]
    n = {"smoke": 64, "class": 1500, "full": 4000}[budget]
    small = small_plates(n)
    results = []
    for name, objective in {"report": UnscaledElbo, "elbo": NegativeElbo}.items():
        vae = train_small(objective, small[:-32], steps)
        x = small[-32:]
        data = f"32 plates of 32 x 32, {steps} steps on {n - 32} others"
        error = psnr(vae.reconstruct(x), x).mean().item()
        active = vae.active_latents(small)
        results += [
            Result(f"loss_{name}_psnr", error, "dB", 0.5, data, 32, 0),
            Result(f"loss_{name}_active", active, "latents of 8", 0, data, n, 0),
        ]
    return results


@experiment(CHAPTER, on_photographs=True)
def restoration(budget: str) -> list[Result]:
    """PSNR and LPIPS of all methods under all damages, one crop from each photograph."""
    n = {"smoke": 4, "class": 12, "full": N_PHOTOGRAPHS}[budget]
    x = load_images("photos", "test", n, budget)[:n]
    kind = "BSDS500 test photographs" if budget == "full" else "photographs"
    return repaired(x, f"a crop of 64 x 64 from each of {n} {kind}", budget)


def repaired(x: Tensor, words: str, budget: str) -> list[Result]:
    """Every damage of x, repaired by every method."""
    restorers, results = load_restorers(), []
    for damage, draw in DAMAGES.items():
        y, mask = draw(x, generator=generator_from(1))
        hit = (y != x).flatten(1).any(1)  # PSNR is infinite elsewhere
        clean, y, mask = x[hit], y[hit], mask[hit]
        estimates = {"damaged": y, "classical": oracle_median_tv(y, mask, clean)}
        estimates |= {name: restore(y, mask) for name, restore in restorers.items()}
        found = scores(estimates, clean, budget, over="classical", tolerance=0.05)
        found |= difference(estimates, clean, budget, "translation", "direct")
        found |= difference(estimates, clean, budget, "projection", "damaged")
        results += means(found, f"{{}}_{damage}", f"{words}, {damage} damage", len(clean), 1)
    return results


def difference(
    estimates: dict[str, Tensor], clean: Tensor, budget: str, one: str, other: str
) -> dict[str, Found]:
    """How much one method is above another in PSNR and in LPIPS, image by image."""
    pair = {one: estimates[one], other: estimates[other]}
    found = scores(pair, clean, budget, over=other, tolerance=0.05)
    return {
        key.replace("gain", "over").replace(one, f"{one}_{other}"): value
        for key, value in found.items()
        if "gain" in key
    }


@experiment(CHAPTER, on_photographs=True)
def without_mask(budget: str) -> list[Result]:
    """The direct network with no mask, with the one that is found, and with the true one."""
    n = {"smoke": 4, "class": 12, "full": N_PHOTOGRAPHS}[budget]
    x = load_images("photos", "test", n, budget)[:n]
    kind = "BSDS500 test photographs" if budget == "full" else "photographs"
    chain, _ = choose_old_photo_restorer("direct")
    direct, results = load_restorers()["direct"], []
    for damage in ("both", "shifted"):
        y, mask = DAMAGES[damage](x, generator=generator_from(1))
        hit = mask.flatten(1).any(1)
        clean, y, mask = x[hit], y[hit], mask[hit]
        masks = {"blind": torch.zeros_like(mask), "found": chain.find(y), "given": mask}
        estimates = {name: direct(y, lost) for name, lost in masks.items()}
        found = scores(estimates, clean, budget, over="blind", tolerance=0.05)
        found |= difference(estimates, clean, budget, "given", "found")
        words = f"a crop of 64 x 64 from each of {len(clean)} {kind}, {damage} damage"
        results += means(found, f"{{}}_mask_{damage}", words, len(clean), 1)
    return results


@experiment(CHAPTER, cheap=True)
def detector(_budget: str) -> list[Result]:
    """Figures of the detector of damage, from its card."""
    return figures_from_card("detector_photos64", "detector")


@experiment(CHAPTER, on_photographs=True)
def photographs_in_tiles(budget: str) -> list[Result]:
    """The networks on photographs of 256 x 256, in overlapping tiles."""
    clean = photographs(budget)[0][:N_IN_TILES]
    kind = "BSDS500 test photographs" if budget == "full" else "photographs"
    words = f"{len(clean)} {kind}, {clean.shape[-2]} x {clean.shape[-1]}"
    results, restorers = [], load_restorers()
    for damage in ("both", "shifted"):
        y, mask = DAMAGES[damage](clean, generator=generator_from(2))
        estimates = {"damaged": y}
        for name, restore in restorers.items():
            parts = zip(y.split(4), mask.split(4), strict=True)
            estimates[name] = torch.cat([apply_in_tiles(restore, *part) for part in parts])
        found = scores(estimates, clean, budget, over="damaged", tolerance=0.05)
        found |= difference(estimates, clean, budget, "translation", "direct")
        results += means(found, f"tiled_{{}}_{damage}", f"{words}, tiles of 64", len(clean), 2)
    return results


def train_small(objective: type[Objective], x: Tensor, steps: int) -> VAE:
    """A VAE with 8 latents for images of 32 x 32, from the same start whatever the objective."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = compact_vae(
            channels=[16, 24], latent_dim=8, width=64, blocks=1, tail=8, img_size=(1, 32, 32)
        )
    settings = Settings(steps=steps, precision="float32", ema_decay=0.98, sheet_every=10**6)
    with tempfile.TemporaryDirectory() as folder:
        return train(objective(vae, x[:8]), x, settings, Path(folder), progress=False).model


def small_plates(n: int) -> Tensor:
    """Plates at half of their resolution, (n, 1, 32, 32)."""
    return avg_pool2d(plates.sample(torch.arange(n), seed=0)[0], 2)


def load_restorers() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The learned methods, each a map (image, mask) -> restored image."""
    vae, direct = load_pretrained("vae_photos64"), load_pretrained("dae_photos64")
    return {
        "projection": lambda image, _: vae.reconstruct(image),
        "direct": direct,
        "kept": keep_intact(direct),
        "translation": load_pretrained("translation_photos64"),
    }
