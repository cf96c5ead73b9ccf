"""The loss of the detector by hand, and one step of it."""

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.data import load_crops
from course_lib.models.damage_detector import DamageDetector
from course_lib.rng import generator_from
from course_lib.training.recipes.damage import DetectionLoss, evaluate
from course_lib.training.recipes.restoration import draw_damage


@pytest.fixture(scope="module")
def x():
    return load_crops(8, 32).images


def test_the_loss_is_the_cross_entropy_of_the_mask(x, tmp_path):
    torch.manual_seed(0)
    model = DamageDetector(channels=(4, 4))
    for parameter in model.network.outlet.parameters():
        torch.nn.init.normal_(parameter)
    objective = DetectionLoss(model, x)
    loss, _ = objective.loss("model", x, done=0.5, generator=generator_from(1))
    image, mask = draw_damage(x, generator_from(1))
    p = model(image).sigmoid()
    expected = -(mask * p.log() + (1 - mask) * (1 - p).log()).mean()
    torch.testing.assert_close(loss, expected)
    assert moved_by_one_step(objective, x, tmp_path) >= {n for n, _ in model.named_parameters()}


def test_figures_of_a_detector_that_knows_nothing(x):
    figures = evaluate(DamageDetector(channels=(4, 4)), x)
    assert figures["recall"].value == 0  # a half is not more than a half
    share = figures["share"].value
    assert figures["average_precision"].value == pytest.approx(share, rel=1e-6)
