"""Two networks that repair old photographs: one direct, one by way of two latent spaces."""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from course_lib.data.degradations import Damaged, faded, old_photo, shifted_old_photo, structured
from course_lib.metrics import psnr, ssim
from course_lib.models.autoencoder import DenoisingAutoencoder
from course_lib.models.translation import LatentTranslation
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.elbo import follow_residual, negative_elbo, warm_up
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe
from course_lib.training.settings import Settings


class DenoisingLoss(Objective):
    """Mean squared error against the clean image; the damage is drawn anew in every step."""

    def __init__(self, model: DenoisingAutoencoder, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """|f(damaged, mask) - clean|^2, per number."""
        damaged = draw_damage(batch, generator)
        mse = mse_loss(self.model(damaged.image, damaged.mask), batch)
        return mse, {"mse": mse.detach()}

    def preview(self, model: nn.Module) -> Tensor:
        """Held-out images, damaged and restored."""
        return restored_rows(model, self.held_out)


class TranslationLoss(Objective):
    """Three players: a VAE of damaged images, one of clean images, the mapping between them.

    The autoencoders are trained without pairs: the first sees damaged images of two kinds, those
    of the pairs and `faded` ones. The mapping is trained on pairs of the first kind only, with
    latents that are taken as given, on the distance of latents and of images.
    """

    def __init__(self, model: LatentTranslation, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Two autoencoders, and the mapping between their latents."""
        parts = ("damaged", "clean", "mapping")
        return {part: list(getattr(self.model, part).parameters()) for part in parts}

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus an ELBO for the autoencoders; |T(z) - z'| + 10 rms of the image for the mapping."""
        model, beta = self.model, warm_up(done)
        if player == "clean":
            loss, figures = negative_elbo(model.clean, batch, beta, generator)
            return loss, {"clean_mse": figures["mse"]}
        damaged = draw_damage(batch, generator)
        if player == "damaged":
            x = torch.where(
                _some(batch, 0.25, generator),
                draw_faded(batch, generator),
                damaged.image,
            )
            loss, figures = negative_elbo(model.damaged, x, beta, generator)
            return loss, {"damaged_mse": figures["mse"]}
        with torch.no_grad():
            source, target = (
                model.damaged.encode(damaged.image).mean,
                model.clean.encode(batch).mean,
            )
        translated = model.translate(source, damaged.mask)
        image = model.clean.decode(translated).mean
        mse = mse_loss(image, batch)
        return l1_loss(translated, target) + 10 * mse.sqrt(), {"mse": mse.detach()}

    def after_step(self, figures: dict[str, float]) -> None:
        """Let both noise levels follow their residuals."""
        follow_residual(self.model.damaged, figures["damaged_mse"])
        follow_residual(self.model.clean, figures["clean_mse"])

    def preview(self, model: nn.Module) -> Tensor:
        """Held-out images, damaged and restored."""
        return restored_rows(model, self.held_out)


def draw_damage(x: Tensor, generator: Generator) -> Damaged:
    """What the networks are trained on: `old_photo`, a quarter of them scratched but else intact.

    A network that never sees an intact photograph smooths every one.
    """
    with torch.autocast(x.device.type, enabled=False):  # damage has the precision of photographs
        worn = old_photo(x, generator=generator, structured=False).image
        return structured(torch.where(_some(x, 0.25, generator), x, worn), generator=generator)


def draw_faded(x: Tensor, generator: Generator) -> Tensor:
    """Photographs that have faded as well: of these no pairs are made."""
    with torch.autocast(x.device.type, enabled=False):
        return faded(x, generator=generator).image


def _some(x: Tensor, share: float, generator: Generator) -> Tensor:
    draw = torch.rand(len(x), 1, 1, 1, generator=generator, device=generator.device)
    return (draw < share).to(x.device)


def restored_rows(model: nn.Module, clean: Tensor) -> Tensor:
    """Eight clean images, then damaged and restored: by the training damage, by another."""
    shown = clean[:8]
    rows = [shown]
    for damage in (old_photo, shifted_old_photo):
        damaged = damage(shown, generator=generator_from(1))
        rows += [damaged.image, model(damaged.image, damaged.mask)]
    return torch.cat(rows)


@torch.no_grad()
def evaluate(model: nn.Module, held_out: Dataset) -> dict[str, Figure]:
    """PSNR and SSIM before and after, on the damage of the training and on the shifted one."""
    x = held_out[torch.arange(len(held_out))]
    figures, data, n = {}, "held-out crops of photographs", len(x)
    for label, damage in (("", old_photo), ("shifted_", shifted_old_photo)):
        damaged: Damaged = damage(x, generator=generator_from(1))
        pairs = zip(damaged.image.split(64), damaged.mask.split(64), strict=True)
        restored = torch.cat([model(image, mask) for image, mask in pairs])
        for state, image in (("damaged", damaged.image), ("restored", restored)):
            figures[f"{label}psnr_{state}"] = Figure(psnr(image, x).mean().item(), "dB", data, n)
            figures[f"{label}ssim_{state}"] = Figure(ssim(image, x).mean().item(), "", data, n)
    return figures


RESTORATION_RECIPES = [
    Recipe(
        name="dae_photos64",
        description="Denoising autoencoder for old photographs, any multiple of 8 pixels",
        architecture="DenoisingAutoencoder",
        arguments={"channels": [32, 64, 96]},
        data="bsds500",
        n_images=60_000,
        held_out=("bsds500_each", 100),
        objective=DenoisingLoss,
        evaluate=evaluate,
        settings=Settings(steps=5500, batch_size=16),
    ),
    Recipe(
        name="translation_photos64",
        description="Latent translation for old photographs, any multiple of 4 pixels",
        architecture="LatentTranslation",
        arguments={"channels": [24, 48], "latent_channels": 16, "width": 48, "blocks": 4},
        data="bsds500",
        n_images=60_000,
        held_out=("bsds500_each", 100),
        objective=TranslationLoss,
        evaluate=evaluate,
        settings=Settings(steps=3500, batch_size=16),
    ),
]
