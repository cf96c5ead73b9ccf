"""Published models have their provenance."""

from course_lib.models.published.catalogue import PUBLISHED


def test_every_published_model_has_its_licence_and_range():
    assert PUBLISHED["ffhq_256_ncsnpp_continuous"].data_range == (0.0, 1.0)
    edm = [card for name, card in PUBLISHED.items() if name.startswith("edm")]
    assert len(edm) == 8
    assert not any(card.commercial for card in edm)
    assert all(card.data_range == (-1.0, 1.0) for card in edm)
