"""A generator with weights of its own for each image."""

from collections.abc import Sequence

from torch import Tensor, nn, vmap
from torch.func import functional_call

from course_lib.inference.latent.generator import LatentGenerator, Pushforward
from course_lib.models.gan import GAN

Weights = dict[str, Tensor]  # name of a parameter -> its value for each image, (B, ...)


class OwnWeights:
    """G with weights for each image, in one call for all images.

    `functional_call` gives a module other weights for the time of a call, `vmap` makes one call
    of many; the weights of the model itself are read and never written.

    Args:
        model: a torch module, or a `Pushforward` of one.
        blocks: parts of it from coarse to fine; stages and head of a `GAN` by default, else the
            direct children of the decoder or network that have weights.

    Raises:
        ValueError: a model that is no torch module, or blocks of another one.
    """

    def __init__(self, model: LatentGenerator, blocks: Sequence[nn.Module] | None = None) -> None:
        self.network = _Mean(model)
        self.trained = {name: p.detach() for name, p in self.network.named_parameters()}
        self.blocks = _blocks(model) if blocks is None else list(blocks)
        own = {id(p) for p in self.network.parameters()}
        if not {id(p) for block in self.blocks for p in block.parameters()} <= own:
            raise ValueError(
                f"deep_generative_prior: blocks must be parts of this {type(model).__name__}, as "
                "in [*gan.generator.stages, gan.generator.head]; these have other weights."
            )

    def draw(self, z: Tensor, weights: Weights) -> Tensor:
        """G_theta(z), each image with its own part of theta."""

        def draw_one(z: Tensor, weights: Weights) -> Tensor:
            return functional_call(self.network, self.trained | weights, (z[None],))[0]

        return vmap(draw_one)(z, weights)

    def release(self, weights: Weights, blocks: int, n: int) -> list[Tensor]:
        """The free weights of the first blocks; those not yet in `weights` are copied n times."""
        free = {id(p) for block in self.blocks[:blocks] for p in block.parameters()}
        names = [name for name, p in self.network.named_parameters() if id(p) in free]
        for name in names:
            if name not in weights:
                trained = self.trained[name]
                weights[name] = trained.expand(n, *trained.shape).clone().requires_grad_()
        return [weights[name] for name in names]


class _Mean(nn.Module):
    """decode(z).mean as a module, to which weights can be given."""

    def __init__(self, model: LatentGenerator) -> None:
        super().__init__()
        self.network, self.decode = _network(model), model.decode

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(z).mean


def _network(model: LatentGenerator) -> nn.Module:
    network = model.network if isinstance(model, Pushforward) else model
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"deep_generative_prior: expected a torch module, whose weights can be fitted, got "
            f"{type(network).__name__}. map_z takes any map."
        )
    return network


def _blocks(model: LatentGenerator) -> list[nn.Module]:
    """The parts of a generator, from coarse to fine."""
    if isinstance(model, GAN):
        return [*model.generator.stages, model.generator.head]
    network = _network(model)
    network = getattr(network, "decoder", network)
    parts = [part for part in network.children() if any(True for _ in part.parameters())]
    return parts or [network]
