"""The game on finite laws, against a search over discriminators and divergences by hand."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from course_lib.exact.adversarial_game import best_discriminator, game_value, jensen_shannon


def law(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    mass = torch.rand(*shape, generator=generator, dtype=torch.float64)
    return mass / mass.sum()


def test_no_discriminator_on_a_fine_grid_does_better():
    p, drawn = law(0, 7), law(1, 7)
    best = best_discriminator(p, drawn)
    c = torch.linspace(1e-4, 1 - 1e-4, 20_001, dtype=torch.float64)[:, None]
    values = p * c.log() + drawn * (1 - c).log()  # the points do not meet: one search for each
    found = c[values.argmax(0), 0]
    assert (found - best).abs().max() <= 5e-5  # the grid's step
    assert game_value(best, p, drawn) >= values.max(0).values.sum()


def test_its_value_is_the_divergence():
    p, drawn = law(0, 7), law(1, 7)
    middle = Categorical((p + drawn) / 2)
    expected = (
        kl_divergence(Categorical(p), middle) + kl_divergence(Categorical(drawn), middle)
    ).item() / 2
    assert jensen_shannon(p, drawn) == pytest.approx(expected, rel=1e-12)
    value = game_value(best_discriminator(p, drawn), p, drawn)
    assert value == pytest.approx(2 * expected - 2 * math.log(2), rel=1e-12)


def test_equal_laws_end_the_game_and_laws_that_do_not_meet_are_all_alike():
    p = law(0, 5)
    assert jensen_shannon(p, p) == pytest.approx(0, abs=1e-15)
    assert best_discriminator(p, p).tolist() == [0.5] * 5
    for shift in (1, 2):
        apart = torch.eye(4).double()
        assert jensen_shannon(apart[0], apart[shift]) == pytest.approx(math.log(2), rel=1e-12)
    assert best_discriminator(apart[0], apart[1]).tolist() == [1.0, 0.0, 0.5, 0.5]


def test_with_labels_the_frequencies_of_labels_are_judged_too():
    """Perfect images of both labels, drawn with other frequencies than those of the data."""
    images = torch.stack([law(2, 6), law(3, 6)])
    real, other = (torch.tensor(f).double()[:, None] * images for f in ([0.5, 0.5], [0.9, 0.1]))
    assert jensen_shannon(real, real) == pytest.approx(0, abs=1e-15)
    assert jensen_shannon(real, other) > 0.05
    torch.testing.assert_close(
        best_discriminator(real, other), torch.tensor([[5 / 14], [5 / 6]]).double().expand(2, 6)
    )


def test_a_discriminator_that_gives_up_on_what_occurs_pays_without_end():
    p = torch.tensor([0.5, 0.5]).double()
    assert game_value(torch.tensor([0.0, 0.5]).double(), p, p) == -math.inf


@pytest.mark.parametrize("drawn", [torch.ones(3), torch.tensor([1.5, -0.5])])
def test_refusals(drawn):
    with pytest.raises(ValueError, match="expected two laws of one shape, with probabilities >= 0"):
        best_discriminator(torch.tensor([0.5, 0.5]), drawn)
