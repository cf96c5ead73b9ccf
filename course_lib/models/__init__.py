"""Networks that return distributions and know nothing of a measurement."""

from course_lib.models.autoencoder import DenoisingAutoencoder, LinearAutoencoder
from course_lib.models.classifier import PlateReader
from course_lib.models.denoiser import PreconditionedDenoiser, unet_denoiser
from course_lib.models.flow import SuperResolutionFlow
from course_lib.models.gan import GAN
from course_lib.models.hvae import HVAE
from course_lib.models.measurement_encoder import MeasurementEncoder
from course_lib.models.pretrained import available, load_pretrained, read_card
from course_lib.models.residual import residual_std
from course_lib.models.singan import SinGAN
from course_lib.models.skip_network import SkipNetwork
from course_lib.models.srresnet import SRResNet
from course_lib.models.stacked_vae import stacked_vae
from course_lib.models.structured_vae import StructuredNormal, StructuredVAE, structured_vae
from course_lib.models.translation import LatentTranslation, PartialNonLocal
from course_lib.models.vae import VAE, Elbo
from course_lib.models.vae_networks import compact_vae, conv_vae, linear_vae
from course_lib.models.vdvae import vdvae

__all__ = [
    "GAN",
    "HVAE",
    "VAE",
    "DenoisingAutoencoder",
    "Elbo",
    "LatentTranslation",
    "LinearAutoencoder",
    "MeasurementEncoder",
    "PartialNonLocal",
    "PlateReader",
    "PreconditionedDenoiser",
    "SRResNet",
    "SinGAN",
    "SkipNetwork",
    "StructuredNormal",
    "StructuredVAE",
    "SuperResolutionFlow",
    "available",
    "compact_vae",
    "conv_vae",
    "linear_vae",
    "load_pretrained",
    "read_card",
    "residual_std",
    "stacked_vae",
    "structured_vae",
    "unet_denoiser",
    "vdvae",
]
