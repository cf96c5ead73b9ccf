"""Training of a SinGAN on one photograph."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Adam

from course_lib.batch import image_size
from course_lib.metrics.images import unit_to_signed
from course_lib.models.singan import SinGAN, gradient_penalty, patch_critic, resize
from course_lib.rng import check_generator, normal_like
from course_lib.solvers.solution import History
from course_lib.validation import check_start

BETAS = (0.5, 0.999)  # of Adam
DECAY_AT, DECAY = 0.8, 0.1  # after this part of the steps the learning rate falls by this factor


@dataclass(frozen=True)
class Pyramid:
    """Scales and networks of a `SinGAN`, which says what they are.

    Args:
        scales: number of generators.
        min_side: shorter side at the coarsest scale, in pixels.
        channels: width of the hidden layers of generators and critics.
        depth: number of convolutions 3 x 3 in a network.
    """

    scales: int = 5
    min_side: int = 20
    channels: int = 32
    depth: int = 5


@dataclass(frozen=True)
class AdversarialTraining:
    """Steps and weights of `fit_singan`, at each scale.

    Args:
        n_steps: number of steps. The learning rate falls tenfold after 80 % of them.
        learning_rate: step size of Adam, for both networks.
        penalty_weight, reconstruction_weight: as in `fit_singan`, for images in [-1, 1].
        noise: a_n over the root mean square of what is lacking.

    Raises:
        ValueError: a number that is not positive and finite.
    """

    n_steps: int = 200
    learning_rate: float = 5e-4
    penalty_weight: float = 0.1
    reconstruction_weight: float = 10.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise ValueError(
                    f"AdversarialTraining: {name} must be positive and finite, got {value}."
                )


@torch.enable_grad()
def fit_singan(
    image: Tensor,
    *,
    pyramid: Pyramid = Pyramid(),
    training: AdversarialTraining = AdversarialTraining(),
    generator: Generator,
    report: Callable[[str], object] | None = None,
) -> SinGAN:
    """Learn the patches of one image at every scale, from the coarsest to the finest.

    At each scale a critic c scores the patches of the image x and of random drawings. With the
    difference of mean scores W = mean c(x) - mean c(drawn), and f = sqrt(n) mean c, where n counts
    the numbers in x, one step of each network lowers

        critic       -W + penalty_weight (|grad f| - 1)^2,
        generator     W + reconstruction_weight |x_rec - x|^2 / n.

    Were f 1-Lipschitz and W as large as it can be, W would be the Wasserstein distance for root
    mean squares of image differences, a unit that means the same at each scale.

    Then the generator is frozen. What its reconstruction lacks once it is enlarged is what the
    next scale has to invent: the root mean square of that, times `noise`, is the amplitude a_n.
    Each scale starts from the weights of the one before.

    Args:
        image: (1, C, H, W) in [0, 1].
        pyramid: scales and networks.
        training: steps and weights at each scale.
        generator: source of weights, noise and the penalty: the same seed gives the same model.
        report: called with one line after each scale, for instance print.

    Returns:
        A SinGAN in evaluation mode, its parameters frozen. Its `history` has a row per scale and a
        column per step: "distance", W; "penalty", (|grad f| - 1)^2; "reconstruction",
        |x_rec - x|^2 / n; all before the step, for images in [-1, 1].

    Raises:
        ValueError: not one image, values that are not finite or not in [0, 1], or numbers out of
            their range.
        TypeError: no torch.Generator.

    Source: Rott Shaham, Dekel & Michaeli 2019, arXiv:1905.01164. It makes 2000 times three steps a
    scale, with batch normalisation in generator and critic, and a penalty on the gradient at each
    pixel; the critic here is that of Gulrajani et al. 2017, arXiv:1704.00028.
    """
    check_generator("fit_singan", generator)
    _check_image(image)
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global seed
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        model = SinGAN(image_size(image), **asdict(pyramid))
        critic = patch_critic(image.shape[1], channels=pyramid.channels, depth=pyramid.depth)
    model, critic = model.to(image).requires_grad_(False).eval(), critic.to(image)
    model.image.copy_(image)
    model.z_rec.copy_(normal_like(model.z_rec, generator))

    coarser, z_rec = torch.zeros_like(model.z_rec), model.z_rec  # of the reconstruction
    rows = []
    for scale, size in enumerate(model.image_sizes):
        real = unit_to_signed(resize(model.image, size))
        if scale:
            model.generators[scale].load_state_dict(model.generators[scale - 1].state_dict())
            z_rec = torch.zeros_like(real)
            lacking = mse_loss(resize(coarser, size), real).sqrt()
            model.amplitudes[scale] = training.noise * lacking
        rows.append(_train_scale(model, scale, critic, real, (coarser, z_rec), training, generator))
        with torch.no_grad():
            coarser = model.refine(coarser, scale, z_rec)
        if report is not None:
            error = mse_loss(coarser, real).sqrt().item() / 2
            report(
                f"scale {scale}, {size[0]} x {size[1]}: root mean square error of the "
                f"reconstruction {error:.4f}, noise {model.amplitudes[scale]:.4f}"
            )
    model.history = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return model


def _train_scale(
    model: SinGAN,
    scale: int,
    critic: nn.Module,
    real: Float[Tensor, "1 c h w"],
    reconstruction: tuple[Tensor, Tensor],
    training: AdversarialTraining,
    generator: Generator,
) -> dict[str, Float[Tensor, " steps"]]:
    """One generator against the critic; it shall reconstruct from (coarser x_rec, z)."""
    network, unit = model.generators[scale].requires_grad_(), math.sqrt(real.numel())
    coarser, z_rec = reconstruction
    of_generator, of_critic = optimisers = [
        Adam(part.parameters(), training.learning_rate, BETAS) for part in (network, critic)
    ]
    record = History("distance", "penalty", "reconstruction")
    for step in range(training.n_steps):
        if step == round(DECAY_AT * training.n_steps):
            for optimiser in optimisers:
                optimiser.param_groups[0]["lr"] *= DECAY
        with torch.no_grad():
            noises = model.noises(1, model.image_sizes[:scale], generator)
            drawn = model.draw(noises) if scale else coarser
        z = normal_like(real, generator)
        both = model.refine(torch.cat([drawn, coarser]), scale, torch.cat([z, z_rec]))
        fake, x_rec = both.split(1)

        distance = critic(real).mean() - critic(fake.detach()).mean()
        penalty = gradient_penalty(
            lambda x: unit * critic(x).flatten(1).mean(1), real, fake, generator=generator
        ).mean()
        _descend(of_critic, training.penalty_weight * penalty - distance)

        error = mse_loss(x_rec, real)
        _descend(of_generator, training.reconstruction_weight * error - critic(fake).mean())
        record.add(distance=distance, penalty=penalty, reconstruction=error)
    network.requires_grad_(False).zero_grad()  # which sets the gradients to None
    return record.stack()


def _descend(optimiser: Adam, loss: Tensor) -> None:
    """One step of one network: the other one, through which the loss passes, keeps no gradient."""
    parameters = optimiser.param_groups[0]["params"]
    optimiser.zero_grad()
    loss.backward(inputs=parameters)
    optimiser.step()


def _check_image(image: Tensor) -> None:
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(
            f"fit_singan: expected one image (1, C, H, W), got shape {tuple(image.shape)}. A "
            "SinGAN learns a single image: train one for each."
        )
    check_start("fit_singan", image, "image")
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"fit_singan: expected values in [0, 1], got [{image.min():.3g}, {image.max():.3g}]. "
            "Divide by 255, or clip."
        )
