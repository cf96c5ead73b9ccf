"""Networks that return distributions and know nothing of a measurement."""

from course_lib.models.autoencoder import DenoisingAutoencoder, LinearAutoencoder
from course_lib.models.classifier import PlateReader
from course_lib.models.gan import GAN
from course_lib.models.pretrained import available, load_pretrained, read_card
from course_lib.models.singan import SinGAN
from course_lib.models.skip_network import SkipNetwork
from course_lib.models.structured_vae import StructuredNormal, StructuredVAE, structured_vae
from course_lib.models.translation import LatentTranslation, PartialNonLocal
from course_lib.models.vae import VAE, Elbo, compact_vae, conv_vae, linear_vae

__all__ = [
    "GAN",
    "VAE",
    "DenoisingAutoencoder",
    "Elbo",
    "LatentTranslation",
    "LinearAutoencoder",
    "PartialNonLocal",
    "PlateReader",
    "SinGAN",
    "SkipNetwork",
    "StructuredNormal",
    "StructuredVAE",
    "available",
    "compact_vae",
    "conv_vae",
    "linear_vae",
    "load_pretrained",
    "read_card",
    "structured_vae",
]
