"""Potentials by the probability flow: evaluations of the denoiser that a given error costs.

The peer is what published programs do: `scipy.integrate.solve_ivp`, RK45, rtol = atol = 1e-5, on
the image and its integrated divergence, in the time of the model's own equation: the noise level
(EDM) or its logarithm (variance exploding). Ours takes the fewest steps from which on its error is
not larger, whatever the number.
All work in the Gaussian world, images of power-law spectrum, whose density is a closed form; the
divergence is exact for both, and the peer is given the exact law at its last time, so that its
error is that of the integration alone. Errors are root mean squares over the images.

    python benchmarks/potential.py     half a minute; writes book/results/benchmarks_potential.json
"""

import math
from dataclasses import replace
from itertools import pairwise
from time import process_time

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from course_lib.diffusion import (
    EDM,
    Hutchinson,
    Schedule,
    VarianceExploding,
    denoise_with_trace,
    estimate_potential,
)
from course_lib.diffusion.samplers import noise_levels
from course_lib.exact import StationaryGaussian, power_law
from course_lib.models import load_pretrained
from course_lib.results import Result, machine, store_results
from course_lib.rng import generator_from

SIDES, IMAGES, TOLERANCE = (16, 32), 8, 1e-5
LOW, HIGH = 0.001, 40.0
SCHEDULES = {
    "edm": EDM(LOW, HIGH),
    "ve": VarianceExploding(sigma_min=LOW, sigma_max=HIGH, start=0.0),
}


def impulse(img_size: tuple[int, int, int]) -> Tensor:
    """A probe that gives the exact trace of what commutes with translations."""
    probe = torch.zeros(1, *img_size, dtype=torch.float64)
    probe[0, 0, 0, 0] = math.sqrt(math.prod(img_size))
    return probe


def published(world: StationaryGaussian, x: Tensor, schedule: Schedule) -> tuple[float, int]:
    """Potential of one image by RK45, and how often it asked the denoiser."""
    probe, n = impulse(world.img_size), x.numel()

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(state[:n]).view_as(x)
        sigma = schedule.sigma(t)
        found, trace = denoise_with_trace(world, image, sigma.expand(1), probe)
        # dx/dt = sigma' / sigma (x - D), for an equation without drift
        rate = schedule.diffusion(t).square() / (2 * sigma.square())
        velocity = rate * (image - found)
        return np.append(velocity.flatten().numpy(), rate * (n - trace[0, 0]))

    start = np.append(x.flatten().numpy(), 0.0)
    span = schedule.start, schedule.horizon
    end = solve_ivp(slope, span, start, method="RK45", rtol=TOLERANCE, atol=TOLERANCE)
    image = torch.from_numpy(end.y[:n, -1]).view_as(x)
    exact_end = world.potential(image, HIGH).item()
    return exact_end - end.y[n, -1], end.nfev


def rms(errors: Tensor) -> float:
    return errors.square().mean().sqrt().item()


def plain_heun(world: StationaryGaussian, x: Tensor, evaluations: int) -> Tensor:
    """Heun's method on EDM's grid, image and divergence together, as a sampler would do it."""
    levels = noise_levels(evaluations // 2 + 1, HIGH, LOW)[-2::-1]
    probe, n, total = impulse(world.img_size), x[0].numel(), torch.zeros(len(x)).double()

    def slopes(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        level = torch.full((len(x),), sigma).double()
        found, trace = denoise_with_trace(world, x, level, probe)
        return (x - found) / sigma, (n - trace[0]) / sigma

    for now, then in pairwise(levels):
        v, d = slopes(x, now)
        w, e = slopes(x + (then - now) * v, then)
        x, total = x + (then - now) * (v + w) / 2, total + (then - now) * (d + e) / 2
    return world.potential(x, HIGH) - total


def measure(side: int) -> list[Result]:
    """Print the lines of one image size, and return its numbers."""
    img_size = (1, side, side)
    world = power_law(img_size)
    x = world.sample(IMAGES, generator=generator_from(0), sigma=LOW)
    exact, size = world.potential(x, LOW), f"{side}x{side}"
    scale, data = exact.abs().mean().item(), f"Gaussian world, {size}"
    ours, probe = {}, Hutchinson(impulse(img_size))
    for n_steps in range(3, 21):
        found = estimate_potential(world, x, n_steps, probe, sigma_max=HIGH)
        ours[int(found.evaluations[0])] = rms(found.value - exact) / scale
    results = []

    def add(name: str, value: float, unit: str, tolerance: float | None) -> None:
        results.append(Result(f"{name}_{side}", value, unit, tolerance, data, IMAGES, 0))

    for evaluations in (37, 49, 61):
        print(f"{size} ours, {evaluations} evaluations: relative error {ours[evaluations]:.1e}")
        add(f"error_{evaluations}", ours[evaluations], "relative", 1e-5)
    for evaluations in (40, 160):
        error = rms(plain_heun(world, x, evaluations) - exact) / scale
        print(f"{size} Heun on EDM's grid, {evaluations} evaluations: {error:.1e}")
        add(f"error_heun_{evaluations}", error, "relative", 1e-5)
    for name, schedule in SCHEDULES.items():
        runs = [published(world, image[None], schedule) for image in x]
        error = rms(torch.tensor([q for q, _ in runs]).double() - exact) / scale
        evaluations = sum(n for _, n in runs) / IMAGES
        enough = max(count for count, value in ours.items() if value > error) + 6  # one step more
        ratio = evaluations / enough
        print(
            f"{size} RK45, time of {name}: {evaluations:.0f} evaluations, relative error "
            f"{error:.1e}; ours {enough} for {ours[enough]:.1e}, ratio {ratio:.2f}"
        )
        add(f"evaluations_{name}", evaluations, "", 1.0)
        add(f"error_{name}", error, "relative", 1e-5)
        add(f"evaluations_ours_{name}", enough, "", 0.0)
        add(f"potential_vs_{name}", ratio, "ratio", 0.05)
    return results


def cost() -> list[Result]:
    """Processor time of a batch of 16 potentials by a denoiser of the course."""
    model = load_pretrained("diffusion_portraits32")
    x = torch.rand(16, 1, 32, 32, generator=generator_from(0))
    estimate_potential(model, x, 1, 1, generator_from(1))  # warms up
    start = process_time()
    estimate_potential(model, x, 10, 1, generator_from(1))
    seconds = process_time() - start
    print(f"16 potentials of 32x32 images, 61 evaluations: {seconds:.1f} s of one processor")
    data = "16 images of 32x32, diffusion_portraits32, one probe, 61 evaluations"
    return [Result("seconds_16_32", seconds, "s CPU", None, data, 16, 0)]


def main() -> None:
    torch.set_num_threads(1)
    provenance = {
        "experiment": "potential",
        "budget": "full",
        "command": "python benchmarks/potential.py",
        "machine": f"1 thread of {machine()}",
    }
    results = [result for side in SIDES for result in measure(side)] + cost()
    store_results("benchmarks_potential", [replace(result, **provenance) for result in results])


if __name__ == "__main__":
    main()
