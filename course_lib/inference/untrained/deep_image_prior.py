"""The deep image prior: the architecture of an untrained network, fitted to one measurement.

A network f with weights theta draws an image x = f(z) from fixed noise z. Descent on

    |A f(z) - y|^2     over theta

meets the smooth and self-similar parts of an image long before noise ("impedance to noise"), so
that an early iterate is a good image though the limit is not. No photograph was ever seen in
training; when to stop is the whole art. For f(z) = B theta it is Landweber's iteration, whose
filter factors on A B are 1 - (1 - step_size s^2)^k.

With Adam nothing guarantees descent: the loss has no global Lipschitz gradient in theta, so the
descent lemma speaks about short steps of plain gradient descent near one theta only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from course_lib.batch import inner
from course_lib.inference.untrained.network_descent import NetworkDescent
from course_lib.inference.untrained.stopping_rules import (
    Best,
    DiscrepancyRule,
    LastStep,
    StoppingRule,
    VarianceRule,
)
from course_lib.metrics import psnr
from course_lib.models.skip_network import SkipNetwork, repeated
from course_lib.operators import Operator, measure
from course_lib.rng import check_generator
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_measurement


class Oracle(NamedTuple):
    """The averaged iterate of highest PSNR, which only one who knows the truth can choose."""

    x: Float[Tensor, "b c h w"]
    step: Int64[Tensor, " b"]
    psnr: Float[Tensor, " b"]  # dB


@dataclass(frozen=True, kw_only=True)
class DeepImagePriorSolution(Solution):
    """A Solution whose x is the image at the step that the stopping rule chose.

    Attributes:
        step: that step, (B,).
        x_last: the image after the last step that was run, (B, C, H, W).
        oracle: None unless the truth was given.
    """

    step: Int64[Tensor, " b"]
    x_last: Float[Tensor, "b c h w"]
    oracle: Oracle | None = None


@torch.enable_grad()
def deep_image_prior(
    op: Operator,
    y: Tensor,
    *,
    network: nn.Module | None = None,
    z: Tensor | None = None,
    descent: NetworkDescent = NetworkDescent(),
    stop: VarianceRule | DiscrepancyRule | None = VarianceRule(),
    truth: Tensor | None = None,
    generator: Generator,
) -> DeepImagePriorSolution:
    """Fit one network to each measurement, all at once, and stop without looking at the truth.

    All networks start from the same weights and see the same noise, so that an image's answer
    does not depend on its neighbours.

    Args:
        op: any operator, linear or not.
        y: measurements (B, *op.measurement_size).
        network: map from z (1, ...) to images (B, C, H, W), with parameters (B, ...); where these
            are (1, ...) they are repeated. A `SkipNetwork` by default. It is copied, not changed.
        z: its input; by default uniform in [0, 0.1], (1, network.inputs, H, W).
        descent: number and kind of steps on the weights.
        stop: rule that chooses the step whose image is x; None for the last one.
        truth: images (B, C, H, W), for the history and the oracle; nothing else looks at them.
        generator: source of weights, z and noise.

    Returns:
        DeepImagePriorSolution, "converged" if every image has stopped. History, a row before
        each step and one after the last: "loss", mean square of A f(z) - y; "restored", 1 where
        weights went back; with a VarianceRule "variance", NaN during its first `window` steps;
        with truth "psnr", dB.

    Raises:
        ValueError: shapes that do not fit, a rule that fits neither descent nor operator.
        TypeError: no generator.

    Source: Ulyanov, Vedaldi & Lempitsky 2018, arXiv:1711.10925.
    """
    check_generator("deep_image_prior", generator)
    check_measurement("deep_image_prior", op, y)
    _check_options(op, y, descent, stop, truth)
    network, z = _network_and_input(network, z, op, y, generator)
    weights, x_mean = descent.start(network), torch.zeros(())
    watch = _Watch(stop or LastStep(), op, y, truth, generator)
    for step in range(descent.max_iter + 1):
        x = network(descent.perturb(z, generator))
        _check_images(x, y, op)
        residual = measure(op, x) - y
        objective = inner(residual, residual) / 2
        loss = 2 * objective.detach() / y[0].numel()
        fallen = weights.fallen(loss, step)
        x_mean = descent.average(x_mean, x.detach(), step)
        if watch.look(x.detach(), x_mean, loss, fallen) or step == descent.max_iter:
            break
        weights.move(objective.sum(), fallen)
    return watch.solution(x_mean, loss)


class _Watch:
    """Records a fit, keeps the image that its rule would return, and the best one."""

    def __init__(
        self,
        rule: StoppingRule,
        op: Operator,
        y: Tensor,
        truth: Tensor | None,
        generator: Generator,
    ) -> None:
        self.rule, self.judge, self.truth = rule, rule.start(op, y, generator), truth
        self.chosen, self.oracle = Best(y), Best(y)
        self.history = History()
        self.stopped = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        self.step = -1

    def look(self, x: Tensor, x_mean: Tensor, loss: Tensor, restored: Tensor) -> bool:
        """Whether the rule ends the fit at this step."""
        self.step += 1
        score, stopped = self.judge(x, loss)
        self.chosen.offer(x_mean, score, self.step, self.stopped)
        self.stopped = self.stopped | stopped
        self.history.add(loss=loss, restored=restored.to(loss.dtype))
        if isinstance(self.rule, VarianceRule):
            self.history.add(variance=score)
        if self.truth is not None:
            quality = psnr(x_mean, self.truth)
            self.oracle.offer(x_mean, -quality, self.step)
            self.history.add(psnr=quality)
        return bool(self.stopped.all()) and not self.rule.keep_going

    def solution(self, x_last: Tensor, loss: Tensor) -> DeepImagePriorSolution:
        """The image of the rule, with what was recorded."""
        best = self.oracle
        return DeepImagePriorSolution(
            self.chosen.x,
            status_of(self.stopped, ~loss.isfinite()),
            self.history.stack(),
            self.step,
            step=self.chosen.step,
            x_last=x_last,
            oracle=None if self.truth is None else Oracle(best.x, best.step, -best.score),
        )


def _network_and_input(
    network: nn.Module | None, z: Tensor | None, op: Operator, y: Tensor, generator: Generator
) -> tuple[nn.Module, Tensor]:
    """One copy of the network for each measurement, and its input."""
    if network is None:
        network = SkipNetwork(op.img_size[0], generator=generator)
    network = repeated(network, len(y)).to(y)
    if z is None:
        inputs = getattr(network, "inputs", None)
        if inputs is None:
            raise ValueError(
                f"deep_image_prior: {type(network).__name__} does not say how many `inputs` it "
                "has; give z."
            )
        z = 0.1 * torch.rand((1, inputs, *op.img_size[-2:]), generator=generator)
    return network, z.to(y)


def _check_images(x: Tensor, y: Tensor, op: Operator) -> None:
    if x.shape != (len(y), *op.img_size):
        raise ValueError(
            f"deep_image_prior: the network must draw images of shape {(len(y), *op.img_size)}, "
            f"one for each measurement of {type(op).__name__}, but drew {tuple(x.shape)}."
        )


def _check_options(
    op: Operator,
    y: Tensor,
    descent: NetworkDescent,
    stop: VarianceRule | DiscrepancyRule | None,
    truth: Tensor | None,
) -> None:
    if isinstance(stop, VarianceRule) and stop.window >= descent.max_iter:
        raise ValueError(
            f"deep_image_prior: expected more steps than the window, {stop.window}, or stop=None, "
            f"got {descent.max_iter}."
        )
    shape = (len(y), *op.img_size)
    if truth is not None and truth.shape != shape:
        raise ValueError(
            f"deep_image_prior: expected truth of shape {shape}, got {tuple(truth.shape)}."
        )
