"""A linear-Gaussian hierarchy, with its posteriors in closed form, and a small untrained one."""

import pytest
import torch

from course_lib.exact import matrix_of
from course_lib.exact.linear_hierarchy import (
    LinearMeasurementEncoder,
    aliased_hierarchy,
    aliasing_sensor,
)
from course_lib.inference import (
    draw_images,
)
from course_lib.models.measurement_encoder import MeasurementEncoderForm
from course_lib.models.stacked_vae import stacked_vae


class Linear:
    """The linear world with its measurement: everything in closed form."""

    def __init__(self):
        self.hvae = aliased_hierarchy()
        self.op = aliasing_sensor()
        self.matrix = matrix_of(self.op)
        groups = self.hvae.decoder.dec_blocks
        self.synthesis = torch.cat([g.synthesis for g in groups], 1)
        eye, c = torch.eye(4, dtype=torch.float64), 0.5
        self.prior = torch.cat([torch.cat([eye, c * eye], 1), torch.cat([c * eye, eye], 1)])
        self.noise = 0.01 * torch.eye(64, dtype=torch.float64)

    def encoder(self, k):
        return LinearMeasurementEncoder(self.hvae, self.matrix, k)

    def images(self, n, generator):
        return draw_images(self.hvae, [], generator=generator, n=n)

    def gain(self, latents, seen):
        """E[first latents | seen @ x] = gain @ (seen @ x), and their covariance with seen @ x."""
        view = seen @ self.synthesis
        of_seen = view @ self.prior @ view.T + seen @ self.noise @ seen.T
        shared = (self.prior @ view.T)[:latents]
        return shared @ torch.linalg.inv(of_seen), shared

    def covariance_given(self, latents, seen):
        """Of the first latents given seen @ x."""
        gain, shared = self.gain(latents, seen)
        return self.prior[:latents, :latents] - gain @ shared.T


@pytest.fixture(scope="module")
def linear():
    return Linear()


@pytest.fixture
def small():
    """An untrained prior of images 1 x 16 x 16 and an encoder of measurements at 1/4."""
    torch.manual_seed(0)
    latents = {"1": 2, "2": 3, "4": 1}
    hvae = stacked_vae(
        dec_blocks="1x2,2m1,4m2",
        latents=latents,
        channels=(8, 8, 8),
        width=16,
        blocks=1,
        tail=4,
        img_size=(1, 16, 16),
    ).requires_grad_(False)
    encoder = MeasurementEncoderForm(
        measurement_size=(1, 4, 4),
        sides=[1, 1, 2],
        latents=latents,
        channels=[8, 8],
        halves=[False, True],
        width=16,
        blocks=1,
    ).build()
    return hvae.eval(), encoder
