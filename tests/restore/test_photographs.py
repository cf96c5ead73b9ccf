"""A photograph is not periodic, may be large, and may be in colour."""

import pytest
import torch
from torch.nn.functional import conv2d

from course_lib.inference.plug_and_play import FallingLevels, half_quadratic_splitting
from course_lib.kernels.smoothed_tv import smoothed_tv_denoise
from course_lib.models.structured_vae import structured_vae
from course_lib.operators import Denoising, bicubic_kernel, gaussian_kernel
from course_lib.restore import plug_and_play
from course_lib.restore.penalties import Penalty, tychonov_estimate
from course_lib.restore.photographs import (
    OPPONENT_COLOURS,
    Degradation,
    from_greys,
    on_canvas,
    restore_photo,
    to_greys,
)
from course_lib.restore.plug_and_play import START_WEIGHT, DenoisingPrior
from course_lib.restore.variational import VariationalBayes
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import accelerated_gradient, tychonov


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=generator_from(seed), dtype=torch.float64)


@pytest.fixture
def vae():
    """Untrained, small, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = structured_vae(channels=(4, 6, 8), latent_channels=3, tail=4, width=4)
    g = generator_from(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * normal_like(parameter, g)
    return model.double().eval().requires_grad_(False)


# ------------------------------------------------------------------ the canvas


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize(
    ("kernel", "factor"),
    [
        (uniform(1, 1, 3, 7), 1),
        (uniform(1, 1, 4, 6), 1),
        (bicubic_kernel(2, torch.float64), 2),
        (uniform(1, 1, 5, 4), 3),
        (None, 1),
        (None, 2),
    ],
    ids=["odd", "even", "bicubic", "thirds", "identity", "bare"],
)
def test_a_photograph_is_the_valid_part_of_a_convolution(kernel, factor, multiple):
    """Of any scene on the canvas: plain sums around each of its pixels, in place of an FFT."""
    degradation = Degradation(0.1, kernel, factor)
    size = on_canvas(torch.zeros(2, 1, 11, 13).double(), degradation, multiple).op.img_size
    assert size[1] % multiple == size[2] % multiple == 0
    scene = uniform(2, *size, seed=1)

    k = torch.ones(1, 1, 1, 1).double() if kernel is None else kernel
    h, w = k.shape[-2:]
    window = on_canvas(torch.zeros(2, 1, 11, 13).double(), degradation, multiple).window
    top, left = window[0].start + h // 2 - h + 1, window[1].start + w // 2 - w + 1
    assert top >= 0
    assert left >= 0
    sums = conv2d(scene, k.flip(-2, -1))[..., top::factor, left::factor][..., :11, :13]
    problem = on_canvas(sums, degradation, multiple)
    assert problem.window == window
    assert window[0].stop - window[0].start == 11 * factor
    # Rounding of an FFT of some thousand numbers below 10.
    torch.testing.assert_close(problem.op.A(scene), problem.y, rtol=0, atol=1e-12)
    assert problem.seen.sum() == 11 * 13
    assert problem.op.norm() <= problem.gain * (1 + 1e-6)


def test_hidden_pixels_are_not_seen():
    seen = uniform(1, 6, 9) < 0.5
    problem = on_canvas(uniform(1, 1, 6, 9), Degradation(0.1, seen=seen), 8)
    assert problem.seen.shape == (1, 8, 16)
    assert torch.equal(problem.seen[:, :6, :9], seen)
    assert problem.seen.sum() == seen.sum()
    assert not problem.y[0][~problem.seen].any()


# ------------------------------------------------------------------ colour


def test_colours_and_greys_are_an_orthogonal_change_of_coordinates():
    photo = uniform(3, 5, 4)
    greys = to_greys(photo)
    torch.testing.assert_close(greys[0, 0], photo.mean(0), rtol=0, atol=1e-6)  # float32 constants
    torch.testing.assert_close(from_greys(greys), photo, rtol=0, atol=1e-6)
    assert to_greys(torch.eye(3)[:, :, None]).min() >= 0
    assert to_greys(torch.eye(3)[:, :, None]).max() <= 1  # so the prior sees images in [0, 1]
    torch.testing.assert_close(
        OPPONENT_COLOURS @ OPPONENT_COLOURS.T, torch.eye(3), rtol=0, atol=1e-6
    )


def test_a_grey_scene_in_colour_has_no_differences():
    greys = to_greys(uniform(1, 4, 4).expand(3, -1, -1))
    assert (greys[1:] - 0.5).abs().max() < 1e-6


# ------------------------------------------------------------------ penalties


def test_the_penalties_meet_their_closed_forms():
    """Without blur or mask the canvas is the photograph, and periodic."""
    photo = uniform(1, 24, 32)
    degradation = Degradation(0.1)
    found = restore_photo(photo, degradation, Penalty("wiener", 0.7)).estimate
    expected = tychonov(Denoising((1, 24, 32)), photo[None], 0.7).x[0]
    assert (found - expected).norm() <= 1e-4 * expected.norm()  # conjugate gradients: 1e-5
    tv = restore_photo(photo, degradation, Penalty("tv", 0.1)).estimate
    expected = smoothed_tv_denoise(photo[None], 0.1, 0.01, 2000)[0]
    # The descent stops once it moves by less than 1e-4; a few such steps may be left.
    assert (tv - expected).norm() <= 2e-3 * expected.norm()


def test_the_step_is_the_inverse_of_the_curvature(monkeypatch):
    """1 / L with L of the data fidelity and of the penalty: beyond it momentum may diverge."""
    steps = []

    def spy(f, x, *, step_size, **options):
        steps.append(step_size * f.lipschitz)
        return accelerated_gradient(f, x, step_size=step_size, max_iter=1, rtol=0.0)

    monkeypatch.setattr("course_lib.restore.penalties.accelerated_gradient", spy)
    degradation = Degradation(0.1, 2.0 * gaussian_kernel(1.0, dtype=torch.float64))
    restore_photo(uniform(1, 13, 21), degradation, Penalty("tv", 0.02))
    # The mask makes |A| at most that of the blur: by a little, on a photograph of this size.
    assert 0.9 < steps[0] <= 1 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["wiener", "tv"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_weight_is_such_that_the_data_fidelity_is_the_noise(method, channels):
    rows = torch.linspace(0, 1, 34).double()
    scene = (rows[:, None] > 0.4).double() * rows * torch.linspace(1, 0.5, channels).view(-1, 1, 1)
    kernel = gaussian_kernel(1.0, dtype=torch.float64)
    clean = conv2d(scene[:, None], kernel)[:, 0]
    photo = clean + 0.03 * normal_like(clean, generator_from(0))
    found = restore_photo(photo, Degradation(0.03, kernel), Penalty(method))
    assert found.data_fidelity == pytest.approx(1, abs=0.02)  # ten halvings: 1 % of the weight
    assert found.std is None
    assert len(found.samples) == 0
    assert found.weight > 0
    inside = scene[:, 4:-4, 4:-4]
    assert (found.estimate - inside).norm() < (photo - inside).norm()


# ------------------------------------------------------------------ variational Bayes


def test_the_bar_ends_where_the_work_does(vae, monkeypatch):
    """Its total counts the pixels of every decoding, the one of the first guess included."""
    bars = []

    class Bar:
        def __init__(self, total, **_):
            self.total, self.done = total, 0
            bars.append(self)

        def update(self, pixels):
            self.done += pixels

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("course_lib.restore.variational.tqdm", Bar)
    method = VariationalBayes(vae, n_steps=2, n_draws=3, n_samples=0)
    restore_photo(uniform(3, 13, 21), Degradation(0.1), method, progress=True)
    assert bars[0].done == bars[0].total > 0


def test_mean_and_spread_are_those_of_the_draws(vae):
    """Accumulated draw by draw, in colour and cut to the photograph."""
    found = restore_photo(
        uniform(3, 13, 21),
        Degradation(0.1),
        VariationalBayes(vae, n_steps=2, n_draws=4, n_samples=4),
    )
    assert found.samples.shape == (4, 3, 13, 21)
    torch.testing.assert_close(found.estimate, found.samples.mean(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.std, found.samples.std(0), rtol=0, atol=1e-10)
    again = restore_photo(
        uniform(3, 13, 21),
        Degradation(0.1),
        VariationalBayes(vae, n_steps=2, n_draws=4, n_samples=1),
    )
    assert torch.equal(again.estimate, found.estimate)  # the seed
    assert torch.equal(again.samples[0], found.samples[0])


def test_map_z_is_a_point(vae):
    found = restore_photo(
        uniform(1, 16, 16), Degradation(0.1), VariationalBayes(vae, "MAP-z", n_steps=2)
    )
    assert found.std is None
    assert len(found.samples) == 0
    assert found.estimate.shape == (1, 16, 16)


def test_super_resolution_has_the_size_of_the_scene(vae):
    degradation = Degradation(0.1, bicubic_kernel(2, torch.float64), 2)
    found = restore_photo(
        uniform(1, 9, 12), degradation, VariationalBayes(vae, n_steps=1, n_draws=2, n_samples=0)
    )
    assert found.estimate.shape == found.std.shape == (1, 18, 24)


@pytest.mark.slow
def test_tiles_leave_no_trace(vae):
    """The whole restoration, blurred and with unseen pixels, in one tile and in many.

    Adam divides by the size of a gradient, which enlarges rounding where that is near zero: 1e-7.
    """
    photo, seen = uniform(1, 200, 236), uniform(1, 200, 236, seed=1) < 0.8
    degradation = Degradation(0.1, gaussian_kernel(1.0, dtype=torch.float64), seen=seen)
    whole, tiled = (
        restore_photo(
            photo, degradation, VariationalBayes(vae, n_steps=2, n_draws=2, n_samples=1, tile=tile)
        )
        for tile in (1024, 216)
    )
    torch.testing.assert_close(tiled.estimate, whole.estimate, rtol=0, atol=1e-7)
    torch.testing.assert_close(tiled.std, whole.std, rtol=0, atol=1e-7)
    torch.testing.assert_close(tiled.samples, whole.samples, rtol=0, atol=1e-7)


def test_a_descent_that_blows_up_is_not_a_result(vae):
    with pytest.raises(ArithmeticError, match="VBLE-xz left the finite numbers"):
        restore_photo(
            uniform(1, 8, 8).float(), Degradation(1e-30), VariationalBayes(vae.float(), n_steps=1)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "guess"}, "there is MAP-z, .*, VBLE-xz; got 'guess'"),
        ({"n_samples": 9, "n_draws": 8}, "0 <= n_samples <= n_draws, got 8 and 9"),
        ({"n_draws": 1, "n_samples": 0}, "n_draws >= 2"),
    ],
)
def test_a_method_that_does_not_exist_is_refused(vae, options, message):
    with pytest.raises(ValueError, match=message):
        VariationalBayes(vae, **options)


def test_penalties_are_checked():
    with pytest.raises(ValueError, match="expected a positive weight, got -1"):
        Penalty("tv", -1.0)
    penalty = Penalty("tv")
    vars(penalty).update(kind="guess")  # as without the type checker of the tests
    with pytest.raises(ValueError, match="there is wiener, tv; got 'guess'"):
        penalty.__post_init__()


def test_a_photograph_is_grey_or_in_colour():
    with pytest.raises(ValueError, match=r"C = 1 or 3, got \(2, 8, 8\)"):
        restore_photo(torch.zeros(2, 8, 8), Degradation(0.1), Penalty("tv"))


# ------------------------------------------------------------------ plug-and-play


def halfway(x, sigma):
    """A linear denoiser: the Wiener filter of white images of variance 1 around 1/2."""
    return 0.5 + (x - 0.5) / (1 + sigma**2)


def test_noise_alone_is_one_call_of_the_denoiser():
    photo = uniform(3, 70, 90)
    found = restore_photo(photo, Degradation(0.2), DenoisingPrior(halfway))
    sigma = 0.2 / 3**0.5  # of each of the three greys
    expected = from_greys(halfway(to_greys(photo), sigma))
    torch.testing.assert_close(found.estimate, expected)
    assert found.weight is None
    assert found.std is None


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(0.1, gaussian_kernel(0.8, 5, torch.float64)),
        Degradation(0.1, bicubic_kernel(2, torch.float64), 2),
        Degradation(0.1, seen=uniform(1, 40, 30) < 0.5),
    ],
    ids=["blur", "x2", "mask"],
)
def test_the_alternation_is_that_of_the_operator_on_the_canvas(degradation):
    photo = uniform(1, 40, 30)
    method = DenoisingPrior(halfway, weight=0.3)
    found = restore_photo(photo, degradation, method)
    problem = on_canvas(photo[None], degradation)
    x0 = tychonov_estimate(problem, None, START_WEIGHT)
    x = half_quadratic_splitting(problem.op, problem.y, halfway, sigma=0.1, weight=0.3, x0=x0).x
    # tiles of a denoiser that works pixel by pixel: only the rounding of blending
    torch.testing.assert_close(found.estimate, problem.photo(x), rtol=0, atol=1e-12)
    assert found.weight == 0.3
    assert found.data_fidelity == pytest.approx(problem.data_fidelity(x))


def test_the_weight_is_found_on_a_part_of_the_photograph(monkeypatch):
    monkeypatch.setattr(plug_and_play, "PART", 24)
    photo = uniform(1, 60, 50)
    degradation = Degradation(0.1, gaussian_kernel(0.8, 5, torch.float64))
    part = on_canvas(photo[None], degradation).part(24)
    assert part.y[..., *part.inside].shape == (1, 1, 24, 24)
    method = DenoisingPrior(halfway, levels=FallingLevels(n=2))
    expected = restore_photo(part.y[0, ..., *part.inside], degradation, method)
    found = restore_photo(photo, degradation, method)
    assert found.weight == expected.weight


def test_a_part_is_as_lively_as_the_whole_and_seen():
    """Flat on the left, noise of the middle strength in the middle, strong noise on the right."""
    photo = torch.full((1, 1, 60, 180), 0.5).double()
    noise = uniform(1, 1, 60, 60) - 0.5
    photo[..., 60:120] += (1 / 3 + 0.01) ** 0.5 * noise
    photo[..., 120:] += noise * (1 - 0.01) ** 0.5 * (2 / 3) ** 0.5
    seen = torch.ones(1, 60, 180, dtype=torch.bool)
    part = on_canvas(photo, Degradation(0.1, seen=seen)).part(60)
    assert part.y[..., *part.inside].shape[-2:] == (60, 60)
    seen[..., 60:] = uniform(1, 60, 120) < 0.1
    part = on_canvas(photo, Degradation(0.1, seen=seen)).part(60)
    assert part.seen.float().mean() > 0.4


def test_a_photograph_smaller_than_a_tile_and_one_pixel():
    for size in ((1, 5, 9), (3, 1, 1)):
        photo = uniform(*size)
        assert (
            restore_photo(photo, Degradation(0.1), DenoisingPrior(halfway)).estimate.shape == size
        )


def test_a_denoiser_that_leaves_the_finite_numbers_is_named():
    degradation = Degradation(0.1, gaussian_kernel(0.8, 5, torch.float64))
    broken = DenoisingPrior(lambda x, _: x * torch.nan, weight=0.3)
    with pytest.raises(ArithmeticError, match="left the finite numbers"):
        restore_photo(uniform(1, 20, 20), degradation, broken)
