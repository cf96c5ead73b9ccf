"""Numbers of chapter 6: what autoencoders keep, how a loss kills one, and who repairs best."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from scipy.ndimage import median_filter
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from course_lib.data import load_crops, load_photos, plates
from course_lib.data.degradations import Damaged, old_photo, shifted_old_photo, structured
from course_lib.functionals import SmoothedTV
from course_lib.functionals.base import Functional
from course_lib.metrics import psnr, ssim
from course_lib.models import VAE, LinearAutoencoder, compact_vae, load_pretrained, read_card
from course_lib.models.vae import rate, reparameterise
from course_lib.restore import apply_in_tiles, keep_intact
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import accelerated_gradient
from course_lib.training import NegativeElbo, Objective, Settings, train

CHAPTER = "06_autoencoders"
VAES = ("plates64", "portraits64", "photos64", "plates64_compact", "portraits64_compact")
DAMAGES = {
    "unstructured": partial(old_photo, structured=False),
    "structured": structured,
    "both": old_photo,
    "shifted": shifted_old_photo,
}


@experiment(CHAPTER)
def principal_components(budget: str) -> list[Result]:
    """PSNR of k principal components and of the compact VAE, on held-out plates."""
    n_train, n_test = {"smoke": (256, 32), "class": (2000, 128), "full": (4000, 512)}[budget]
    clean = plates.sample(torch.arange(n_train), seed=0)[0]
    test = plates.sample(torch.arange(n_test), seed=2)[0]
    data = f"{n_test} held-out plates, components of {n_train}"
    results = []
    for k in (8, 32, 128):
        model = LinearAutoencoder.principal_components(clean, min(k, n_train))
        value = psnr(model(test), test).mean().item()
        results.append(Result(f"pca_{k}", value, "dB", 0.05, data, n_test, 0))
    vae = load_pretrained("vae_plates64_compact")
    value = psnr(vae.reconstruct(test), test).mean().item()
    return [*results, Result("compact_same_plates", value, "dB", 0.05, data, n_test, 0)]


@experiment(CHAPTER, cheap=True)
def autoencoders(budget: str) -> list[Result]:
    """Figures of the released VAEs, from their cards; the tolerance is that of a new training."""
    results = []
    for name in VAES:
        card = read_card(f"vae_{name}")
        results += [
            Result(f"{key}_{name}", f["value"], f["unit"], None, f["data"], f["n"], card["seed"])
            for key, f in card["figures"].items()
        ]
        minutes = card["minutes"], "min", None, card["machine"], 1, card["seed"]
        results.append(Result(f"minutes_{name}", *minutes))
    return results


@experiment(CHAPTER)
def loss_scale(budget: str) -> list[Result]:
    """Active latents and error of one small VAE, trained by two losses that differ in scale."""
    steps = {"smoke": 20, "class": 300, "full": 1000}[budget]
    n = {"smoke": 64, "class": 1500, "full": 4000}[budget]
    small = small_plates(n)
    results = []
    for name, objective in {"report": ReportLoss, "elbo": NegativeElbo}.items():
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


@experiment(CHAPTER)
def restoration(budget: str) -> list[Result]:
    """PSNR and SSIM of all methods under all damages, on crops of every test photograph."""
    crops = load_crops({"smoke": 4, "class": 24, "full": 96}[budget], seed=0)
    restorers = load_restorers()
    results = []
    for damage, draw in DAMAGES.items():
        damaged = draw(crops.images, generator=generator_from(1))
        hit = (damaged.image != crops.images).flatten(1).any(1)  # PSNR is infinite elsewhere
        clean, damaged = crops.images[hit], Damaged(damaged.image[hit], damaged.mask[hit])
        data = f"crops of 64 x 64 from {len(set(crops.names))} photographs, {damage} damage"
        estimates = {"damaged": damaged.image, "classical": classical(damaged, clean)}
        estimates |= {name: restore(*damaged) for name, restore in restorers.items()}
        for method, estimate in estimates.items():
            quality = psnr(estimate, clean).mean().item(), ssim(estimate, clean).mean().item()
            name, n = f"{method}_{damage}", len(clean)
            results += [
                Result(f"psnr_{name}", quality[0], "dB", 0.05, data, n, 1),
                Result(f"ssim_{name}", quality[1], "", 0.005, data, n, 1),
            ]
    return results


@experiment(CHAPTER)
def photographs_in_tiles(budget: str) -> list[Result]:
    """The same on whole photographs of 256 x 256, in overlapping tiles."""
    names = ("camera", "astronaut", "coffee", "chelsea", "grace_hopper", "rocket")
    count = {"smoke": 1, "class": 2, "full": 6}[budget]
    clean = load_photos(names[:count], 256).images
    data = f"{count} photographs, 256 x 256, tiles of 64"
    results, restorers = [], load_restorers()
    for damage in ("both", "shifted"):
        damaged = DAMAGES[damage](clean, generator=generator_from(2))
        estimates = {"damaged": damaged.image}
        for name, restore in restorers.items():
            estimates[name] = apply_in_tiles(restore, *damaged)
        for method, estimate in estimates.items():
            value = psnr(estimate, clean).mean().item()
            results.append(Result(f"tiled_{method}_{damage}", value, "dB", 0.05, data, count, 2))
    return results


class ReportLoss(Objective):
    """Mean squared error plus summed rate: looks like an ELBO, has the wrong scale (E42)."""

    def __init__(self, model: VAE, held_out: Tensor) -> None:
        self.model = model

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        q = self.model.encode(batch)
        x = self.model.decode(reparameterise(q, generator)).mean
        beta = min(1.0, done / 0.1)  # as in NegativeElbo: only the scale differs
        return mse_loss(x, batch) + beta * rate(q).mean(), {}


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


def load_restorers() -> dict:
    """The learned methods, each a map (image, mask) -> restored image."""
    vae, direct = load_pretrained("vae_photos64"), load_pretrained("dae_photos64")
    return {
        "projection": lambda image, mask: vae.reconstruct(image),
        "direct": direct,
        "kept": keep_intact(direct),
        "translation": load_pretrained("translation_photos64"),
    }


@dataclass(frozen=True, eq=False)
class SeenPixels(Functional):
    """1/2 |M (x - y)|^2, with a mask of seen pixels for each image of the batch."""

    y: Tensor
    seen: Tensor
    lipschitz: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        return 0.5 * (self.seen * (x - self.y)).square().sum((1, 2, 3))

    def grad(self, x: Tensor) -> Tensor:
        return self.seen * (x - self.y)


def classical(damaged: Damaged, clean: Tensor) -> Tensor:
    """Median filter, then smoothed TV that fills the holes: the best setting for each image.

    The choice looks at the truth, once for each image: no method could choose better among these.
    """
    best = damaged.image
    for size in (1, 3, 5):
        smoothed = torch.from_numpy(
            median_filter(damaged.image.numpy(), size=(1, 1, size, size), mode="reflect")
        )
        for holes in (damaged.mask, torch.zeros_like(damaged.mask)):
            for lam in (0.01, 0.03, 0.1, 0.3):
                f = SeenPixels(smoothed, 1 - holes) + SmoothedTV(lam, eps=0.02)
                estimate = accelerated_gradient(f, smoothed, max_iter=150, rtol=1e-4).x
                better = psnr(estimate, clean) > psnr(best, clean)
                best = torch.where(better.view(-1, 1, 1, 1), estimate, best)
    return best
