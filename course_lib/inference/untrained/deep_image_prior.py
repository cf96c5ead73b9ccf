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

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from course_lib.batch import inner, per_image
from course_lib.metrics import psnr
from course_lib.models.skip_network import SkipNetwork, repeated
from course_lib.operators import Denoising, GaussianNoise, Operator
from course_lib.rng import check_generator, normal_like
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_measurement

OPTIMISERS = {"adam": partial(torch.optim.Adam, fused=True), "gd": torch.optim.SGD}
RULES = ("variance", "discrepancy", None)
TARGETS = ("image", "image + noise", "shuffled pixels", "white noise")
BACKUP = 50  # steps between two looks at the loss: see `max_drop`


class Oracle(NamedTuple):
    """What could have been had, by one who knows the truth."""

    x: Float[Tensor, "b c h w"]  # the best of all averaged iterates
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


def deep_image_prior(
    op: Operator,
    y: Tensor,
    *,
    network: nn.Module | None = None,
    z: Tensor | None = None,
    steps: int = 1500,
    step_size: float = 0.01,
    optimiser: str = "adam",
    noise_std: float = 1 / 30,
    averaging: float = 0.99,
    max_drop: float = 5.0,
    stop: str | None = "variance",
    window: int = 33,
    patience: int = 50,
    tau: float = 1.0,
    keep_going: bool = False,
    truth: Tensor | None = None,
    generator: Generator,
) -> DeepImagePriorSolution:
    """Fit one network to each measurement, all at once, and stop without looking at the truth.

    All networks start from the same weights and see the same noise, so that an image's answer
    does not depend on its neighbours.

    Args:
        op: any operator, linear or not.
        y: measurements (B, *op.measurement_size).
        network: from z (1, ...) to images (B, C, H, W), with parameters (B, ...); where these are
            (1, ...) they are repeated. A `SkipNetwork` by default. It is copied, not changed.
        z: its input; by default uniform in [0, 0.1], (1, network.inputs, H, W).
        steps: of the optimiser, at most.
        step_size: of the optimiser.
        optimiser: "adam", or "gd" for theta <- theta - step_size * gradient of |A f(z) - y|^2 / 2.
        noise_std: of fresh noise on z at each step, which makes f smooth; 0: none.
        averaging: a in the running mean of the iterates with weights a^age, which is what is
            returned and scored; 0: the iterates themselves.
        max_drop: dB. Every `BACKUP` steps the weights are copied; where the data fit of an image
            has fallen by more since the last copy they go back to it. math.inf: never.
        stop: which step gives x.
            "variance": the one about which the iterates vary least. Before it they are on their
            way to the image, after it they follow noise. No noise level is needed.
            "discrepancy": the first with |A f(z) - y| <= tau |noise|, for the Gaussian noise of
            op.noise_model; if there is none, the one with the least residual.
            None: the last.
        window, patience: in steps. The variance counts iterates with weights
            (1 - 1 / window)^age; an image has stopped once `patience` steps brought no lower one.
        tau: see "discrepancy".
        keep_going: run all steps, though every image has stopped, to see what comes. x stays the
            same.
        truth: images (B, C, H, W), for the history and the oracle; nothing else looks at them.
        generator: of weights, z and noise.

    Returns:
        DeepImagePriorSolution, "converged" if every image has stopped. History, a row before
        each step and one after the last: "loss", mean square of A f(z) - y; "variance", NaN
        during the first `window` steps; "restored", 1 where weights went back; with truth
        "psnr", dB.

    Raises:
        ValueError: shapes that do not fit, an unknown rule or optimiser, numbers out of range.
        TypeError: no generator.

    Source: Ulyanov, Vedaldi & Lempitsky 2018, arXiv:1711.10925; the variance rule, Wang, Li,
    Zhuang, Chen, Liang & Sun 2023, arXiv:2112.06074 (ES-EMV).
    """
    check_generator("deep_image_prior", generator)
    check_measurement("deep_image_prior", op, y)
    _check_options(
        op,
        y,
        steps,
        step_size,
        optimiser,
        noise_std,
        averaging,
        max_drop,
        stop,
        window,
        patience,
        tau,
        truth,
    )
    if network is None:
        network = SkipNetwork(op.img_size[0], generator=generator)
    network = repeated(network, len(y)).to(y)
    if z is None:
        if not hasattr(network, "inputs"):
            raise ValueError(
                f"deep_image_prior: {type(network).__name__} does not say how many `inputs` it "
                "has; give z."
            )
        shape = (1, network.inputs, *op.img_size[-2:])
        z = 0.1 * torch.rand(shape, generator=generator)
    z = z.to(y)
    parameters = list(network.parameters())
    descent = OPTIMISERS[optimiser](parameters, lr=step_size)
    backup = _Backup(parameters, y, max_drop)
    variance = _MovingVariance(window)
    target = tau**2 * _noise_energy(op, y, generator) if stop == "discrepancy" else None
    rule, best = _StoppingRule(stop, y, patience, target), _Best(y)
    record = History("loss", "variance", "restored", *(["psnr"] if truth is not None else []))

    average = 0.0
    for step in range(steps + 1):
        with torch.enable_grad():
            x = network(z + noise_std * normal_like(z, generator) if noise_std else z)
        iterate = x.detach()
        _check_images(iterate, y, op)
        # The mean of the iterates so far, with weights averaging^age.
        average = average + (1 - averaging) / (1 - averaging ** (step + 1)) * (iterate - average)

        residual = op.A(iterate) - y
        loss = inner(residual, residual) / y[0].numel()
        spread = variance(iterate)
        fallen = backup.check(loss, step)
        rule.look(average, loss, spread, step)
        record.add(loss=loss, variance=spread, restored=fallen.to(loss.dtype))
        if truth is not None:
            quality = psnr(average, truth)
            best.offer(average, -quality, step)
            record.add(psnr=quality)
        if step == steps or (rule.stopped.all() and not keep_going):
            break

        pull = op.A_vjp(iterate, residual)
        descent.zero_grad()
        x.backward(pull)
        descent.step()
        backup.restore(fallen)
    return DeepImagePriorSolution(
        rule.best.x,
        status_of(rule.stopped, ~loss.isfinite()),
        record.stack(),
        step,
        step=rule.best.step,
        x_last=average,
        oracle=None if truth is None else Oracle(best.x, best.step, -best.score),
    )


class Impedance(NamedTuple):
    """How fast a network follows an image, and how slowly what is no image."""

    targets: Float[Tensor, "4 b c h w"]  # as `TARGETS` names them
    loss: Float[Tensor, "rows 4 b"]  # mean square error, before each step and after the last


def impedance(
    images: Float[Tensor, "b c h w"],
    *,
    network: nn.Module | None = None,
    steps: int = 1000,
    step_size: float = 0.01,
    sigma: float = 25 / 255,
    generator: Generator,
) -> Impedance:
    """Fit an image, the image with noise, its shuffled pixels and white noise, all at once.

    Four networks for each image start from the same weights and noise; what is left is the target.

    Args:
        images: in [0, 1].
        network, steps, step_size: as in `deep_image_prior`.
        sigma: standard deviation of the noise that is added.
        generator: of the targets and of the networks.

    Source: Ulyanov, Vedaldi & Lempitsky 2018, arXiv:1711.10925, figure 2.
    """
    check_generator("impedance", generator)
    order = torch.randperm(images[0, 0].numel(), generator=generator).to(images.device)
    targets = torch.stack(
        [
            images,
            images + sigma * normal_like(images, generator),
            images.flatten(2)[..., order].view(images.shape),
            torch.rand(images.shape, generator=generator).to(images),
        ]
    )
    found = deep_image_prior(
        Denoising(tuple(images.shape[1:])),
        targets.flatten(0, 1),
        network=network,
        steps=steps,
        step_size=step_size,
        noise_std=0.0,
        averaging=0.0,
        stop=None,
        generator=generator,
    )
    return Impedance(targets, found.history["loss"].unflatten(1, targets.shape[:2]))


class _Best:
    """The image of least score so far, one a row."""

    def __init__(self, y: Tensor) -> None:
        self.x: Tensor | None = None
        self.score = torch.full((len(y),), math.inf, dtype=y.dtype, device=y.device)
        self.step = torch.zeros(len(y), dtype=torch.int64, device=y.device)

    def offer(self, x: Tensor, score: Tensor, step: int, open_: Tensor | None = None) -> Tensor:
        """Take the rows of x that are better and open; True for them. NaN is never better."""
        better = score < self.score if open_ is None else (score < self.score) & open_
        self.x = x if self.x is None else torch.where(per_image(better, x), x, self.x)
        self.score = torch.where(better, score, self.score)
        self.step = torch.where(better, step, self.step)
        return better


class _StoppingRule:
    """Keeps the image of each row that its rule would return, and knows which rows have stopped."""

    def __init__(self, stop: str | None, y: Tensor, patience: int, target: Tensor | None) -> None:
        self.stop, self.patience, self.target = stop, patience, target
        self.best = _Best(y)
        self.waited = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        self.stopped = torch.zeros(len(y), dtype=torch.bool, device=y.device)

    def look(self, x: Tensor, loss: Tensor, spread: Tensor, step: int) -> None:
        if self.stop is None:
            self.best.offer(x, torch.full_like(loss, -step), step)
        elif self.stop == "discrepancy":
            self.best.offer(x, loss, step, ~self.stopped)
            self.stopped = self.stopped | (loss <= self.target)
        else:
            better = self.best.offer(x, spread, step, ~self.stopped)
            self.waited = torch.where(better | spread.isnan(), 0, self.waited + 1)
            self.stopped = self.stopped | (self.waited >= self.patience)


class _MovingVariance:
    """Variance of an image about its mean over the last steps, averaged over pixels.

    Both are means with weights (1 - 1 / window)^age; NaN during the first `window` steps.
    """

    def __init__(self, window: int) -> None:
        self.share, self.burn_in = 1 / window, window
        self.mean: Tensor | None = None

    def __call__(self, x: Tensor) -> Float[Tensor, " b"]:
        if self.mean is None:
            self.mean, self.variance = x, torch.zeros_like(x[:, 0, 0, 0])
        change = x - self.mean
        self.mean = self.mean + self.share * change
        new = self.variance + self.share * change.square().flatten(1).mean(1)
        self.variance = (1 - self.share) * new
        self.burn_in -= 1
        return self.variance if self.burn_in < 0 else torch.full_like(new, math.nan)


class _Backup:
    """Puts the weights of an image back to a copy when its loss has risen too much."""

    def __init__(self, parameters: list[nn.Parameter], y: Tensor, max_drop: float) -> None:
        self.parameters, self.factor = parameters, 10 ** (max_drop / 10)
        self.copies = [p.detach().clone() for p in parameters]
        self.loss = torch.full((len(y),), math.inf, dtype=y.dtype, device=y.device)

    def check(self, loss: Tensor, step: int) -> Tensor:
        """The rows whose loss has risen; copies the weights of the others."""
        if step % BACKUP:
            return torch.zeros_like(loss, dtype=torch.bool)
        bad = loss > self.factor * self.loss
        self._copy(self.parameters, self.copies, ~bad)
        self.loss = torch.where(bad, self.loss, loss)
        return bad

    def restore(self, rows: Tensor) -> None:
        if rows.any():
            self._copy(self.copies, self.parameters, rows)

    @staticmethod
    @torch.no_grad()
    def _copy(sources: list[Tensor], targets: list[Tensor], rows: Tensor) -> None:
        for source, target in zip(sources, targets, strict=True):
            target.copy_(torch.where(per_image(rows, target), source, target))


def _check_images(x: Tensor, y: Tensor, op: Operator) -> None:
    if x.shape != (len(y), *op.img_size):
        raise ValueError(
            f"deep_image_prior: the network must draw images of shape {(len(y), *op.img_size)}, "
            f"one for each measurement of {type(op).__name__}, but drew {tuple(x.shape)}."
        )


def _noise_energy(op: Operator, y: Tensor, generator: Generator) -> Tensor:
    """Expected mean square of the noise in y, over all entries; those without noise count as 0."""
    if not isinstance(op.noise_model, GaussianNoise):
        raise ValueError(
            f"deep_image_prior: stop='discrepancy' compares the residual with Gaussian noise, but "
            f"the noise model of {type(op).__name__} is {op.noise_model}. Give the operator a "
            "GaussianNoise, or take stop='variance', which needs to know nothing."
        )
    x = torch.zeros(1, *op.img_size, dtype=y.dtype, device=y.device)
    touched = op(x, generator=generator) != op.A(x)  # Inpainting leaves lost pixels at 0
    return op.noise_model.sigma**2 * touched.to(y.dtype).mean()


def _check_options(
    op: Operator,
    y: Tensor,
    steps: int,
    step_size: float,
    optimiser: str,
    noise_std: float,
    averaging: float,
    max_drop: float,
    stop: str | None,
    window: int,
    patience: int,
    tau: float,
    truth: Tensor | None,
) -> None:
    def expect(ok: bool, what: str, value: object) -> None:
        if not ok:
            raise ValueError(f"deep_image_prior: expected {what}, got {value!r}.")

    expect(steps >= 1, "steps >= 1", steps)
    expect(0 < step_size < math.inf, "a positive, finite step_size", step_size)
    expect(optimiser in OPTIMISERS, f"optimiser one of {', '.join(OPTIMISERS)}", optimiser)
    expect(0 <= noise_std < math.inf, "a finite noise_std >= 0", noise_std)
    expect(0 <= averaging < 1, "averaging in [0, 1)", averaging)
    expect(max_drop > 0, "max_drop > 0 dB, or math.inf", max_drop)
    expect(stop in RULES, f"stop one of {', '.join(map(repr, RULES))}", stop)
    expect(window >= 2 and patience >= 1, "window >= 2 and patience >= 1", (window, patience))
    if stop == "variance":
        expect(window < steps, f"more steps than the window, {window}, or stop=None", steps)
    expect(tau > 0, "tau > 0", tau)
    if truth is not None:
        shape = (len(y), *op.img_size)
        expect(truth.shape == shape, f"truth of shape {shape}", tuple(truth.shape))
