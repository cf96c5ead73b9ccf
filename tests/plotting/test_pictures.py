"""From tensors to pictures: drawing changes nothing."""

import torch

from course_lib.plotting import compare, decibels, show_images, show_spectrum


def test_inputs_are_never_changed(photo, drawn):
    wild = 3 * photo - 1  # values outside [0, 1] are drawn clipped
    wild[0, 0, 0] = float("nan")
    before = wild.clone().requires_grad_()
    kept = before.detach().clone()
    drawn(show_images({"a": before, "b": photo}, truth=photo, zoom=(1, 2, 5, 5)))
    drawn(show_spectrum(torch.nan_to_num(before)))
    compare(before, photo, alt="x", caption="y")
    torch.testing.assert_close(before.detach(), kept, rtol=0, atol=0, equal_nan=True)


def test_captions_in_decibels():
    truth = torch.zeros(2, 1, 4, 4)
    assert decibels(truth, truth + 0.1, truth=truth) == ["truth", "truth", "20.0 dB", "20.0 dB"]
