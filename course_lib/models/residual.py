"""How near the range of a released generator comes to images that it has not seen."""

from course_lib.models.pretrained import read_card


def residual_std(name: str) -> float:
    """Root mean square of x - G(z) for held-out images x, from the card of the weights.

    For a GAN z is the best latent that was found, for a VAE it is the encoded one.
    """
    figures = read_card(name)["figures"]
    decibels = figures.get("inversion", figures.get("reconstruction"))["value"]
    return 10 ** (-decibels / 20)
