"""Results made of means and of cards."""

import math

import pytest
import torch
from safetensors.torch import save_file

from course_lib.experiments.shared import (
    figures_from_card,
    mean,
    means,
    perceptual,
    photographs,
    scores,
    scores_in_hole,
)
from course_lib.metrics import fetched, lpips
from course_lib.metrics.feature_networks import random_weights
from course_lib.metrics.fetched import NotFetched, weights_path
from course_lib.models import read_card
from course_lib.operators import central_hole
from course_lib.rng import generator_from


def test_means_name_their_results_and_average_their_values():
    found = {
        "a": (torch.tensor([1.0, 2.0]), "dB", 0.1),
        "b": (torch.tensor([True, False]), "", None),
    }
    first, second = means(found, "x_{}_y", "two images", 2, 7)
    assert (first.name, first.value, first.unit, first.tolerance) == ("x_a_y", 1.5, "dB", 0.1)
    assert (second.name, second.value, second.unit, second.tolerance) == ("x_b_y", 0.5, "", None)
    assert (first.data, first.n, first.seed) == ("two images", 2, 7)
    assert mean(0.1) == 0.1  # numbers pass through in double precision


def test_figures_are_those_of_the_card():
    card = read_card("vae_plates64")
    found = {r.name: r for r in figures_from_card("vae_plates64", "p", leave_out="noise_std")}
    assert found.keys() == {f"{k}_p" for k in card["figures"] if k != "noise_std"} | {"minutes_p"}
    assert found["reconstruction_p"].value == card["figures"]["reconstruction"]["value"]
    assert found["minutes_p"].value == card["minutes"]
    assert all(r.tolerance is None for r in found.values())


@pytest.mark.parametrize(("budget", "count", "side"), [("smoke", 2, 64), ("class", 4, 128)])
def test_photographs_grow_with_the_budget(budget, count, side):
    photos, words = photographs(budget)
    assert photos.shape == (count, 1, side, side)
    assert words == f"{count} photographs, {side} x {side} grey"


def test_a_full_table_does_not_lose_its_perceptual_column(tmp_path, monkeypatch, generator):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    x = torch.rand(2, 1, 32, 32, generator=generator)
    assert perceptual(x, x, "smoke") == perceptual(x, x, "class") == {}
    with pytest.raises(NotFetched, match="course fetch perceptual"):
        perceptual(x, x, "full")
    weights_path("alex").parent.mkdir()
    save_file(random_weights("alex", 0, torch.empty(0)), weights_path("alex"))
    digest = fetched.content_digest(weights_path("alex"))
    monkeypatch.setitem(fetched.DIGESTS, fetched.WEIGHTS["alex"], digest)
    ((name, (values, unit, tolerance)),) = perceptual(2 * x, x, "smoke").items()
    assert (name, unit, tolerance) == ("lpips", "", 0.005)
    assert torch.equal(values, lpips((2 * x).clamp(max=1), x))


def test_scores_compare_methods_image_by_image():
    """Offsets of 0.1 and 0.2: 20 and 13.98 dB on every image, so the interval has no width."""
    truth = torch.full((3, 1, 32, 32), 0.5)
    found = scores({"near": truth + 0.1, "far": truth + 0.2}, truth, "smoke", over="near")
    assert mean(found["psnr_near"][0]) == pytest.approx(20, abs=1e-4)
    assert mean(found["gain_far"][0]) == pytest.approx(-20 * math.log10(2), abs=1e-4)
    assert mean(found["gain_half_far"][0]) == pytest.approx(0, abs=1e-4)
    assert "gain_near" not in found
    assert {"psnr_far", "gain_far", "gain_half_far"} <= found.keys()


def test_scores_in_a_hole_look_at_nothing_else():
    """An estimate that is wrong by 0.1 in the hole and by 1 outside it has 20 dB inside."""
    op, truth = central_hole((1, 12, 10), 4), torch.rand(2, 1, 12, 10, generator=generator_from(0))
    wrong = truth + torch.where(op.mask > 0, 1.0, 0.1)
    found = scores_in_hole({"a": wrong, "b": truth + 0.1}, truth, op, over="b")
    assert mean(found["inside_a"][0]) == pytest.approx(20, abs=1e-3)
    assert mean(found["inside_gain_a"][0]) == pytest.approx(0, abs=1e-3)
