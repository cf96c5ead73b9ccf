"""Orthonormal transforms against scipy and PyWavelets, and the l1 norm of their coefficients."""

import math

import pytest
import pywt
import scipy.fft
import torch
from scipy.optimize import minimize_scalar

from course_lib.functionals import DCT, LeastSquares, Sparsity, Wavelets, keep_largest
from course_lib.operators import Denoising
from course_lib.solvers import gradient_descent

SIZE = (2, 8, 12)
TRANSFORMS = {
    "DCT": DCT(SIZE),
    "DCT of odd sides": DCT((1, 7, 5)),
    "Haar": Wavelets(SIZE, "haar"),
    "db2": Wavelets(SIZE, "db2"),
    "db4, longer than the corner": Wavelets((1, 16, 16), "db4"),
    "one level": Wavelets((3, 6, 4), "db2", levels=1),
}


@pytest.fixture(params=TRANSFORMS.values(), ids=TRANSFORMS.keys())
def transform(request):
    return request.param


def images(generator, size=SIZE, n=3):
    return torch.randn(n, *size, generator=generator, dtype=torch.float64)


def test_perfect_reconstruction_and_parseval(transform, generator):
    x, z = images(generator, transform.img_size), images(generator, transform.img_size)
    c = transform.analysis(x)
    assert c.shape == x.shape
    assert torch.allclose(transform.synthesis(c), x, rtol=0, atol=1e-12)
    assert torch.allclose(transform.analysis(transform.synthesis(x)), x, rtol=0, atol=1e-12)
    assert torch.allclose((c * transform.analysis(z)).sum(), (x * z).sum(), rtol=0, atol=1e-11)


def test_dct_is_that_of_scipy(generator):
    x = images(generator)
    expected = torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho"))
    assert torch.allclose(DCT(SIZE).analysis(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym4"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_wavelets_are_those_of_pywavelets(wavelet, levels, generator):
    size = (2, 64, 128)  # long enough for pywt.wavedec2 not to warn
    x = images(generator, size)
    bands = pywt.wavedec2(x.numpy(), wavelet, "periodization", levels, axes=(-2, -1))
    expected, _ = pywt.coeffs_to_array(bands, axes=(-2, -1))
    c = Wavelets(size, wavelet, levels).analysis(x)
    assert torch.allclose(c, torch.from_numpy(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["DCT", "Haar", "db4, longer than the corner"])
def test_a_constant_image_has_coarsest_coefficients_only(name):
    transform = TRANSFORMS[name]
    _, height, width = transform.img_size
    h, w = transform.coarsest
    c = transform.analysis(torch.full((1, *transform.img_size), 0.3, dtype=torch.float64))
    expected = torch.zeros_like(c)
    expected[..., :h, :w] = 0.3 * math.sqrt(height * width / (h * w))
    assert torch.allclose(c, expected, rtol=0, atol=1e-12)


def test_depth_by_default():
    assert Wavelets((1, 64, 64)).coarsest == (1, 1)
    assert Wavelets((1, 64, 96)).depth == 5
    assert Wavelets((1, 64, 96)).coarsest == (2, 3)
    assert DCT((1, 64, 96)).coarsest == (1, 1)


def test_haar_by_hand():
    """Of [[a, b], [c, d]]: (a+b+c+d)/2, differences along columns, along rows, along both."""
    x = torch.tensor([[1.0, 2.0], [4.0, 9.0]])[None, None]
    expected = torch.tensor([[8.0, -3.0], [-5.0, 2.0]])[None, None]
    assert torch.allclose(Wavelets((1, 2, 2), "haar").analysis(x), expected, rtol=0, atol=1e-6)


def test_gradients_flow_and_single_precision_stays(transform, generator):
    x = images(generator, transform.img_size, n=1).requires_grad_()
    assert torch.autograd.gradcheck(transform.analysis, x)
    assert torch.autograd.gradcheck(transform.synthesis, x)
    assert transform.analysis(x.detach().float()).dtype == torch.float32
    assert transform.synthesis(x.detach().float()).dtype == torch.float32


def test_the_input_is_left_alone(transform, generator):
    x = images(generator, transform.img_size)
    kept = x.clone()
    transform.analysis(x)
    transform.synthesis(x)
    keep_largest(x, 3, transform)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("spare", [False, True])
def test_value_is_the_sum_of_moduli(transform, spare, generator):
    c = images(generator, transform.img_size)
    x = transform.synthesis(c)
    h, w = transform.coarsest
    expected = c.abs().sum((1, 2, 3))
    if spare:
        expected = expected - c[..., :h, :w].abs().sum((1, 2, 3))
    value = Sparsity(0.7, transform, spare_coarsest=spare)(x)
    assert value.shape == (3,)
    assert torch.allclose(value, 0.7 * expected, rtol=1e-12)


def test_prox_against_minimisation_in_one_variable(generator):
    """In the basis the problem falls apart into numbers: lam |u| + (u - c)^2 / (2 tau)."""
    lam, tau = 0.7, 0.4
    R = Sparsity(lam, DCT((1, 2, 3)), spare_coarsest=True)
    x = images(generator, (1, 2, 3), n=2)
    c = R.transform.analysis(x).flatten().tolist()
    p = R.transform.analysis(R.prox(x, tau)).flatten().tolist()
    for i, (start, found) in enumerate(zip(c, p, strict=True)):
        weight = 0 if i % 6 == 0 else lam
        cost = lambda u, c=start, w=weight: w * abs(u) + (u - c) ** 2 / (2 * tau)  # noqa: E731
        best = minimize_scalar(cost, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10})
        # A parabola of curvature 1 / tau hides its minimum within sqrt(EPS).
        assert found == pytest.approx(best.x, abs=1e-7)


@pytest.mark.parametrize("spare", [False, True])
def test_prox_solves_its_optimality_condition(transform, spare, generator):
    """(x - p) / tau is a subgradient of R at p: lam sign where p has a coefficient, else within."""
    lam, tau = 0.5, 0.8
    x = images(generator, transform.img_size)
    p = Sparsity(lam, transform, spare_coarsest=spare).prox(x, tau)
    subgradient = transform.analysis(x - p) / tau
    c = transform.analysis(p)
    if spare:
        h, w = transform.coarsest
        assert subgradient[..., :h, :w].abs().max() <= 1e-11
        subgradient, c = subgradient[..., h:, w:], c[..., h:, w:]
    support = c.abs() > 1e-11
    assert support.any()
    assert not support.all()
    assert torch.allclose(subgradient[support], lam * c[support].sign(), rtol=0, atol=1e-11)
    assert subgradient.abs().max() <= lam + 1e-11


def test_prox_does_not_expand(transform, generator):
    x, z = images(generator, transform.img_size), images(generator, transform.img_size)
    R = Sparsity(0.5, transform)
    gap = R.prox(x, 1.0) - R.prox(z, 1.0)
    assert (gap.flatten(1).norm(dim=1) <= (x - z).flatten(1).norm(dim=1) + 1e-12).all()


def test_a_weight_an_image(generator):
    x, T = images(generator), DCT(SIZE)
    lams = [0.0, 0.3, 2.0]
    together = Sparsity(torch.tensor(lams, dtype=torch.float64), T)
    alone = [Sparsity(lam, T) for lam in lams]
    value = torch.cat([R(x[i : i + 1]) for i, R in enumerate(alone)])
    prox = torch.cat([R.prox(x[i : i + 1], 0.5) for i, R in enumerate(alone)])
    # Products of a batch and of one image may round differently.
    assert torch.allclose(together(x), value, rtol=1e-13)
    assert torch.allclose(together.prox(x, 0.5), prox, rtol=0, atol=1e-14)


@pytest.mark.parametrize("k", [0, 1, 7, 60])
def test_keep_largest_is_the_nearest_of_all_sparse_images(transform, k, generator):
    size = transform.img_size
    k = min(k, math.prod(size))
    x = images(generator, size)
    c = transform.analysis(x).flatten(1)
    best = transform.analysis(keep_largest(x, k, transform)).flatten(1)
    assert ((best.abs() > 1e-11).sum(1) == k).all()
    # Parseval: what is lost is the energy of the smallest coefficients,
    lost = (best - c).square().sum(1)
    smallest = c.abs().sort(1).values[:, : c.shape[1] - k]
    assert torch.allclose(lost, smallest.square().sum(1), rtol=1e-10, atol=1e-20)
    # and any other support of k coefficients, each with its best values, loses more.
    for _ in range(20):
        support = torch.randperm(c.shape[1], generator=generator)[:k]
        other = c.square().sum(1) - c[:, support].square().sum(1)
        assert (lost <= other + 1e-10).all()


def test_keep_largest_is_a_projection(transform, generator):
    x = images(generator, transform.img_size)
    once = keep_largest(x, 5, transform)
    assert torch.allclose(keep_largest(once, 5, transform), once, rtol=0, atol=1e-12)
    everything = math.prod(transform.img_size)
    assert torch.allclose(keep_largest(x, everything, transform), x, rtol=0, atol=1e-12)


def test_keep_largest_passes_gradients_of_what_it_keeps(generator):
    T, x = DCT((1, 4, 4)), images(generator, (1, 4, 4), n=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: keep_largest(u, 5, T), x)


def test_bad_input():
    for levels in (0, 3):
        with pytest.raises(ValueError, match=r"sides \(12, 8\) can be halved 2 times"):
            Wavelets((1, 12, 8), levels=levels)
    with pytest.raises(ValueError, match="can be halved 0 times"):
        Wavelets((1, 15, 8))
    for wavelet in ("bior2.2", "dmey", "daubechies"):
        with pytest.raises(ValueError, match=f"an orthogonal wavelet of PyWavelets.*{wavelet}"):
            Wavelets((1, 8, 8), wavelet)
    with pytest.raises(ValueError, match=r"DCT: expected img_size = \(C, H, W\)"):
        DCT((1, 0, 8))
    T = DCT((1, 4, 4))
    with pytest.raises(ValueError, match=r"DCT.analysis: expected .* shape \(\*batch, 1, 4, 4\)"):
        T.analysis(torch.zeros(2, 1, 5, 4))
    with pytest.raises(ValueError, match="Sparsity: lam must be a finite number >= 0"):
        Sparsity(-1.0, T)
    with pytest.raises(ValueError, match="Sparsity: lam must be a finite number >= 0"):
        Sparsity(torch.tensor([1.0, math.nan]), T)
    with pytest.raises(ValueError, match="lam holds 2 weights, one for each image, but there are"):
        Sparsity(torch.ones(2), T)(torch.zeros(3, 1, 4, 4))
    for k in (-1, 17):
        with pytest.raises(ValueError, match="keep_largest: expected 0 <= k <= 16"):
            keep_largest(torch.zeros(1, 1, 4, 4), k, T)


def test_descent_on_sparsity_is_refused():
    y = torch.zeros(1, 1, 4, 4)
    f = LeastSquares(Denoising((1, 4, 4)), y) + Sparsity(0.1, DCT((1, 4, 4)))
    assert f(y).item() == 0
    with pytest.raises(TypeError, match=r"Sparsity has no gradient.*accelerated_proximal_gradient"):
        gradient_descent(f, y, step_size=0.1)
