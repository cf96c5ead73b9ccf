"""Networks that return distributions and know nothing of a measurement."""

from course_lib.models.autoencoder import DenoisingAutoencoder, LinearAutoencoder
from course_lib.models.classifier import PlateReader
from course_lib.models.denoiser import Denoiser, unet_denoiser
from course_lib.models.exact_worlds import EmpiricalMixture, StationaryGaussian, power_law
from course_lib.models.gan import GAN
from course_lib.models.pretrained import available, load_pretrained, read_card
from course_lib.models.singan import SinGAN
from course_lib.models.skip_network import SkipNetwork
from course_lib.models.translation import LatentTranslation, PartialNonLocal
from course_lib.models.vae import VAE, Elbo, compact_vae, conv_vae, linear_vae

__all__ = [
    "GAN",
    "VAE",
    "Denoiser",
    "DenoisingAutoencoder",
    "Elbo",
    "EmpiricalMixture",
    "LatentTranslation",
    "LinearAutoencoder",
    "PartialNonLocal",
    "PlateReader",
    "SinGAN",
    "SkipNetwork",
    "StationaryGaussian",
    "available",
    "compact_vae",
    "conv_vae",
    "linear_vae",
    "load_pretrained",
    "power_law",
    "read_card",
    "unet_denoiser",
]
