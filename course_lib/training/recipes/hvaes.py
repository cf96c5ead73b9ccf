"""Hierarchical VAEs of portraits and plates."""

import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from course_lib.metrics import average_pairwise_distance, psnr
from course_lib.models.hvae import HVAE
from course_lib.models.pretrained import load_pretrained
from course_lib.models.reading import read_samples
from course_lib.models.stacked_vae import start_from_vae
from course_lib.models.vae import reparameterise
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, figures_of, images_of
from course_lib.training.settings import Settings

OPENING = {8: 0.02, 16: 0.1}  # part of the training after which groups begin to open
TIME_TO_OPEN = 0.1
CUT = {8: 0.25, 16: 0.4}  # part of the images in which groups of this side or finer stay shut
WHOLE = 4  # one image in so many is decoded
TEMPERATURES = (1.0, 0.7, 0.4)  # of the samples that the card measures
NEW = 2  # groups at 1 x 1 above those that hold the vector of the flat VAE


class CoarseFirst(Objective):
    """Minus the ELBO in nats per dimension, with departures that decide where bits go.

    Left alone, a hierarchy stores everything in its finest latents, which lie next to the pixels
    and learn fastest. So

    - finer groups open one after the other: while a group is shut its latents are the mean of its
      prior, and what it could have said must be said above it;
    - in `CUT` of the images the groups below some side stay shut for good: the coarse groups are
      asked, now and always, to draw the image as well as they can on their own;
    - features and latents are trained with one noise level for all pixels, the root mean square
      residual of the image, but at least `noise_floor` (twice that in images that are cut): below
      it lies grain, which is not worth a latent. The scale of each pixel, which p(x | z) has, is
      fitted to the residuals alone.

    The groups at 1 x 1 cost next to nothing, and the global shape depends on their prior. So most
    images of a batch train that prior only: the first `NEW` groups are a VAE of the vector in the
    others, whose posteriors are taken as given (a second stage, as Dai & Wipf 2019,
    arXiv:1903.05789, add to a flat VAE).

    Source: for the cuts, Rippel, Gelbart & Adams 2014, arXiv:1402.0915 (nested dropout).
    """

    def __init__(self, model: HVAE, held_out: Tensor, *, noise_floor: float) -> None:
        self.model, self.held_out, self.noise_floor = model, held_out, noise_floor

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Residual over its own size + rates + misfit of the scales, in nats per dimension."""
        n = batch[0].numel()
        drawn, vector_only = batch.tensor_split([len(batch) // WHOLE])
        nats = self._rate_of_vector(vector_only, generator)
        sides, decoder, features = self.model.sides, self.model.decoder, self.model.features(drawn)
        lot = torch.rand(len(drawn), generator=generator, device=generator.device).to(drawn.device)
        rates = dict.fromkeys(sides, drawn.new_zeros(()))
        priced = drawn.new_zeros(len(drawn))

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            nonlocal priced
            side = sides[index]
            open_ = openness(side, done) * (lot >= CUT.get(side, 0.0))
            if not open_.any():
                return prior.mean
            q = decoder.dec_blocks[index].posterior(state, features[side], prior)
            rate = open_ * kl_divergence(q, prior).flatten(1).sum(1)
            rates[side] = rates[side] + rate.detach().sum() / open_.sum()
            priced = priced + rate
            step = reparameterise(q, generator) - prior.mean
            return prior.mean + open_[:, None, None, None] * step

        p = decoder.emit(decoder.descend(draw, len(drawn)))
        mse = (p.mean - drawn).square().flatten(1).mean(1)
        whole = lot >= max(CUT.values())
        floor = self.noise_floor * (2 - whole.float())
        loss = 0.5 * mse / torch.maximum(mse.detach(), floor**2) + priced / n
        scale = Normal(p.mean.detach(), p.stddev, validate_args=False)
        misfit = -scale.log_prob(drawn).flatten(1).mean(1)
        misfit = (whole * misfit).sum() / whole.sum().clamp(min=1)
        figures = {f"rate_{side}": rate for side, rate in rates.items()}
        figures |= {"misfit": misfit.detach(), "rmse": mse.detach().mean().sqrt()}
        return loss.mean() + misfit + nats / n, figures

    def _rate_of_vector(self, x: Tensor, generator: Generator) -> Tensor:
        """Of the groups at 1 x 1, averaged over images, to train their prior."""
        with torch.no_grad():
            features = self.model.features(x)[1]
        decoder, total = self.model.decoder, x.new_zeros(())

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            nonlocal total
            q = decoder.dec_blocks[index].posterior(state, features, prior)
            if index >= NEW:  # nothing here pays for what the image would lose
                q = Normal(q.mean.detach(), q.stddev.detach(), validate_args=False)
            total = total + kl_divergence(q, prior).flatten(1).sum(1).mean()
            return reparameterise(q, generator)

        decoder.descend(draw, len(x), stop=self.model.groups_up_to(1))
        return total

    def preview(self, model: HVAE) -> Tensor:
        """Eight held-out images, reconstructions, and draws at temperatures 1 and 0.7."""
        shown = self.held_out[:8]
        drawn = [model.sample(16, t, generator=generator_from(0)) for t in (1.0, 0.7)]
        return torch.cat([shown, model.reconstruct(shown), *drawn])


def openness(side: int, done: float) -> float:
    """How far the groups of a side are open, from 0 to 1; those at 1 x 1 always are."""
    return 1.0 if side == 1 else min(1.0, max(0.0, (done - OPENING[side]) / TIME_TO_OPEN))


@torch.no_grad()
def evaluate(model: HVAE, held_out: Dataset) -> dict[str, Figure]:
    """Nats per dimension, rates by side and by group, where the image sits, spread of samples."""
    x, n = held_out[torch.arange(len(held_out))], len(held_out)
    generator, sides = generator_from(0), sorted(set(model.sides))
    images: dict[int, list[Tensor]] = {side: [] for side in sides}
    values, rates = [], []
    for part in x.split(64):
        values.append(model.elbo(part, generator=generator).value)
        encoded = model.encode(part, generator=generator)
        rates.append(encoded.rates)
        for side in sides:
            told = encoded.latents[: model.groups_up_to(side)]
            images[side].append(model.sample(len(part), 0.0, told, generator=generator_from(0)))
    rates = torch.cat(rates).mean(0)
    elbo = torch.cat(values).mean().item() / x[0].numel()
    found = {"elbo": (elbo, "nats per dimension"), "rate": (rates.sum().item(), "nats per image")}
    for side in sides:
        share = rates[[s == side for s in model.sides]].sum().item()
        kept = psnr(torch.cat(images[side]), x).mean().item()
        found[f"rate_{side}"] = (share, f"nats per image, groups of {side} x {side}")
        found[f"kept_{side}"] = (kept, f"dB, posterior up to {side} x {side}, then prior means")
    found["reconstruction"] = (found[f"kept_{sides[-1]}"][0], "dB")
    found |= {f"rate_of_{i}": (nats, "nats per image") for i, nats in enumerate(rates.tolist())}
    figures = figures_of(found, n)
    for temperature in TEMPERATURES:
        drawn = model.sample(n, temperature, generator=generator_from(0))
        spread = (average_pairwise_distance(drawn) / average_pairwise_distance(x)).item()
        figures[f"spread_{temperature}"] = Figure(
            spread, "of the spread of the data", f"samples, temperature {temperature}", n
        )
    return figures


@torch.no_grad()
def evaluate_plates(model: HVAE, held_out: Dataset) -> dict[str, Figure]:
    """The same, and what a reader of plates makes of samples."""
    figures = evaluate(model, held_out)
    for temperature in TEMPERATURES:
        drawn = model.sample(len(held_out), temperature, generator=generator_from(0))
        read = read_samples(drawn)
        data, n = f"samples, temperature {temperature}", len(drawn)
        figures[f"readable_{temperature}"] = Figure(
            read.readable, "", f"{data}, reader above 0.9", n
        )
        figures[f"characters_{temperature}"] = Figure(read.characters, "of 36", data, n)
    return figures


# Latents by side. Of ten groups at 1 x 1, eight share the 48 or 32 latents of the compact VAE.
GROUPS = {"portraits": {"1": 6, "8": 8, "16": 4}, "plates": {"1": 4, "8": 8, "16": 4}}


def hvae_recipe(world: str, noise_floor: float) -> Recipe:
    """Groups at 1 x 1, which begin as the latent of the compact VAE, and finer ones."""
    return Recipe(
        name=f"hvae_{world}64",
        description=f"Hierarchical VAE of {world}, grown out of vae_{world}64_compact",
        architecture="stacked_vae",
        arguments={"dec_blocks": "1x10,8m1,8x1,16m8", "latents": GROUPS[world]},
        **images_of(world, 512),
        settings=Settings(steps=4000, batch_size=64),
        objective=lambda model, held_out: CoarseFirst(model, held_out, noise_floor=noise_floor),
        evaluate=evaluate_plates if world == "plates" else evaluate,
        start=lambda model: start_from_vae(model, load_pretrained(f"vae_{world}64_compact")),
    )


HVAE_RECIPES = [hvae_recipe("portraits", 0.03), hvae_recipe("plates", 0.05)]
