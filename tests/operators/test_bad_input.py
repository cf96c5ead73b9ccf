"""Bad input is refused early, with a message that says what was expected, what came, what to do."""

import pytest
import torch

from course_lib.operators import (
    MRI,
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
    PoissonNoise,
    Tomography,
    airy_kernel,
    bicubic_kernel,
    box_kernel,
    cartesian_mask,
    defocus_kernel,
    gaussian_kernel,
    motion_kernel,
)

NAN = float("nan")


def refused(message):
    return pytest.raises(ValueError, match=message)


# ------------------------------------------------------------------ shapes of images


def test_wrong_image_shape():
    with refused(r"Denoising.A\(x\): expected shape \(\*batch, 3, 8, 9\), got \(2, 3, 8, 8\)\.$"):
        Denoising((3, 8, 9)).A(torch.zeros(2, 3, 8, 8))


def test_channels_last_gets_a_hint():
    with refused(r"got \(8, 9, 3\). Images are channels-first; try x.movedim\(-1, -3\)"):
        Denoising((3, 8, 9)).A(torch.zeros(8, 9, 3))
    with refused(r"try y.movedim\(-1, -3\)"):
        Denoising((3, 8, 9)).A_adjoint(torch.zeros(4, 8, 9, 3))


def test_a_missing_channel_axis_gets_a_hint():
    with refused(r"got \(8, 9\). The channel axis is missing; try x\[None\]"):
        Denoising((1, 8, 9)).A(torch.zeros(8, 9))


def test_every_method_checks_its_arguments(op):
    image, data = torch.zeros(op.img_size), torch.zeros(op.measurement_size)
    bad = torch.zeros(2, 1, 2)
    name = type(op).__name__
    for call, where in (
        (lambda: op.A(bad), r"A\(x\)"),
        (lambda: op(bad), r"A\(x\)"),
        (lambda: op.A_adjoint(bad), r"A_adjoint\(y\)"),
        (lambda: op.A_dagger(bad), r"A_dagger\(y\)"),
        (lambda: op.A_vjp(bad, data), r"A_vjp\(x\)"),
        (lambda: op.A_vjp(image, bad), r"A_vjp\(v\)"),
        (lambda: op.prox_l2(bad, data, 1.0), r"prox_l2\(z\)"),
        (lambda: op.prox_l2(image, bad, 1.0), r"prox_l2\(y\)"),
    ):
        with refused(rf"{name}.{where}: expected shape \(\*batch, .*got \(2, 1, 2\)"):
            call()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.complex64])
def test_pixels_that_are_no_real_numbers(op, dtype):
    """An 8-bit photograph would otherwise be blurred into zeros and ones without a word."""
    with pytest.raises(TypeError, match=r"A\(x\): expected floating-point.*float\(\) / 255"):
        op.A(torch.ones(op.img_size, dtype=dtype))


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_values_that_are_no_numbers(op, bad):
    x, y = torch.zeros(op.img_size), torch.zeros(op.measurement_size)
    x.view(-1)[0], y.view(-1)[0] = bad, bad
    with refused(r"__call__\(x\): 1 values are NaN or infinite. .*Inpainting"):
        op(x)
    with refused(r"A_dagger\(y\): 1 values are NaN or infinite"):
        op.A_dagger(y)


@pytest.mark.parametrize("gamma", [0.0, -1.0, NAN])
def test_the_weight_of_prox_must_be_positive(op, gamma):
    with refused("prox_l2: gamma weighs the data: it must be positive"):
        op.prox_l2(torch.zeros(op.img_size), torch.zeros(op.measurement_size), gamma)


def test_noise_needs_a_generator():
    with pytest.raises(TypeError, match=r"generator=torch.Generator\(\).manual_seed\(0\)"):
        Denoising((1, 4, 4), GaussianNoise(0.1))(torch.zeros(1, 4, 4))


# ------------------------------------------------------------------ noise


@pytest.mark.parametrize("sigma", [-0.1, NAN, float("inf")])
def test_sigma(sigma):
    with refused("sigma must be a finite number >= 0.*write 10 / 255 for ten grey levels"):
        GaussianNoise(sigma)


@pytest.mark.parametrize("gain", [0.0, -1.0, NAN, float("inf")])
def test_gain(gain):
    with refused("gain must be a finite number > 0.*0.01 gives 100 photons"):
        PoissonNoise(gain)


@pytest.mark.parametrize("rate", [-0.5, NAN])
def test_photon_rates(rate, generator):
    with refused(r"a photon rate cannot be negative.*A\(x\) >= 0"):
        PoissonNoise(0.1)(torch.full((4,), rate), generator=generator)


# ------------------------------------------------------------------ kernels


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        (gaussian_kernel, "std"),
        (defocus_kernel, "radius"),
        (airy_kernel, "radius"),
        (motion_kernel, "length"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_kernel_parameters(kernel, name):
    for width in (-1.0, NAN, float("inf")):
        with refused(f"{kernel.__name__}: {name} is in pixels and must be >= 0"):
            kernel(width)
    for size in (4, 0, -3):
        with refused("size must be odd, so that there is a centre"):
            kernel(1.0, size=size)


@pytest.mark.parametrize("prefilter", [bicubic_kernel, box_kernel])
def test_prefilter_factor(prefilter):
    with refused("downsampling factor must be at least 1, got 0"):
        prefilter(0)


def test_kernels_that_do_not_fit():
    for build in (lambda k: Blur(k, (1, 8, 9)), lambda k: Downsampling((1, 8, 9), 1, k)):
        with refused(r"the kernel \(9 x 3\) is larger than the image \(8 x 9\). Crop the kernel"):
            build(torch.ones(1, 1, 9, 3))
        with refused(r"the kernel \(3 x 10\) is larger"):
            build(torch.ones(1, 1, 3, 10))
        with refused("holds NaN or infinite"):
            build(torch.full((1, 1, 3, 3), NAN))


def test_factor_must_divide_the_size():
    with refused("factor 3 must divide the image size, got 9 x 10. Crop the image to 9 x 9"):
        Downsampling((1, 9, 10), 3)
    with refused("factor 3 must divide the image size, got 10 x 9. Crop the image to 9 x 9"):
        Downsampling((1, 10, 9), 3)
    for factor in (0, -2):
        with refused(f"factor {factor} must divide"):
            Downsampling((1, 8, 8), factor)


# ------------------------------------------------------------------ masks, rows, angles


def test_inpainting_masks():
    with refused("the mask is empty, so nothing is measured"):
        Inpainting(torch.zeros(1, 4, 4))
    with refused("only 0 .* and 1"):
        Inpainting(torch.full((1, 4, 4), 0.5))
    with refused("only 0 .* and 1"):
        Inpainting(torch.full((1, 4, 4), NAN))
    with refused(r"expected a mask of shape \(C, H, W\), got \(4, 4\). .*mask\[None\]"):
        Inpainting(torch.ones(4, 4))


def test_compressed_sensing_rows(generator):
    for rows in ("fourier", "hadamard"):
        with refused("expected 1 <= m <= 16 = C H W"):
            CompressedSensing(17, (1, 4, 4), generator, rows)
    for rows in ("gaussian", "fourier"):
        with refused("got m=0"):
            CompressedSensing(0, (1, 4, 4), generator, rows)
    with refused("power of two, got 12. Use rows='fourier'"):
        CompressedSensing(2, (1, 3, 4), generator, "hadamard")


def test_phase_retrieval(generator):
    with refused("expected m >= 1 intensities, got m=0"):
        PhaseRetrieval(0, (1, 4, 4), generator)
    op = PhaseRetrieval(5, (1, 4, 4), generator)
    with refused(r"spectral_start\(y\): expected shape \(\*batch, 5\), got \(2, 6\)"):
        op.spectral_start(torch.zeros(2, 6))
    with refused(r"A\(x\): expected shape \(\*batch, 1, 4, 4\), got \(4, 5\)"):
        op.A(torch.zeros(4, 5))


def test_mri():
    with refused(r"img_size must be \(1, H, W\) for real or \(2, H, W\)"):
        MRI(torch.ones(4, 4), (3, 4, 4))
    with refused(r"expected a mask of shape \(4, 5\), got \(5, 4\)"):
        MRI(torch.ones(5, 4), (1, 4, 5))
    for mask in (torch.zeros(4, 4), torch.full((4, 4), 0.5)):
        with refused("only 0 and 1, and at least one 1"):
            MRI(mask, (1, 4, 4))
    with refused(r"expected coil_maps of shape \(N, 4, 4\), got \(3, 5, 4\)"):
        MRI(torch.ones(4, 4), (1, 4, 4), torch.ones(3, 5, 4, dtype=torch.complex64))


def test_cartesian_mask(generator):
    for acceleration, centre in ((0.5, 0.08), (4.0, -0.1), (4.0, 1.5), (NAN, 0.08)):
        with refused("expected acceleration >= 1 and 0 <= centre_fraction <= 1"):
            cartesian_mask((4, 4), acceleration, generator, centre)


def test_tomography_angles():
    for angles in (0, -1):
        with refused("expected at least one view"):
            Tomography((1, 4, 4), angles)
    with refused(r"non-empty 1-D tensor in radians, got shape \(0,\)"):
        Tomography((1, 4, 4), torch.empty(0))
    with refused(r"filtered_backprojection\(y\): expected shape"):
        Tomography((1, 4, 4), 2).filtered_backprojection(torch.zeros(1, 3, 7))
