"""The banded Cholesky factor: dense algebra, adjoints, derivatives, the law of its samples."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.linalg import solve_triangular

from course_lib.kernels.banded_cholesky import BandedCholesky, _reference, causal_offsets

F64 = torch.float64
EPS = torch.finfo(F64).eps
METHODS = ["matvec", "matvec_t", "solve", "solve_t"]
backends = pytest.mark.parametrize("backend", ["reference", "numba"])
methods = pytest.mark.parametrize("method", METHODS)
radii = pytest.mark.parametrize("radius", [0, 1, 2, 3, 4])
sizes = pytest.mark.parametrize(
    ("height", "width"), [(6, 5), (9, 11), (5, 2), (7, 1), (1, 7), (1, 1)]
)


def factor(generator, batch, height, width, radius, backend="auto", dtype=F64):
    """Each row has off-diagonals of sum at most 1/2 of the diagonal, which is in [0.5, 1.5].

    So |L|_inf <= 2.25 and |L^-1|_inf <= 4. Entries outside the image are not 0: they must not
    count.
    """
    m = len(causal_offsets(radius))
    d = 0.5 + torch.rand(batch, 1, height, width, generator=generator, dtype=F64)
    o = (2 * torch.rand(batch, m, height, width, generator=generator, dtype=F64) - 1) * d
    return BandedCholesky(d.to(dtype), (o / (2 * max(m, 1))).to(dtype), radius, backend)


def normal(generator, *shape, dtype=F64):
    return torch.randn(shape, generator=generator, dtype=dtype)


def by_hand(L, b):
    """The matrix of factor b from its definition, entry by entry."""
    _, _, height, width = L.diagonal.shape
    dense = L.diagonal[b].flatten().diag()
    for row in range(height):
        for column in range(width):
            for k, (i, j) in enumerate(causal_offsets(L.radius)):
                if row + i >= 0 and 0 <= column + j < width:
                    there = (row + i) * width + column + j
                    dense[row * width + column, there] = L.offdiagonal[b, k, row, column]
    return dense


def test_causal_offsets():
    assert causal_offsets(0) == ()
    assert causal_offsets(1) == ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    for radius, m in ((1, 4), (2, 12), (3, 24)):
        offsets = causal_offsets(radius)
        assert len(offsets) == len(set(offsets)) == m
        # in a wide enough image their raster indices increase, and are earlier than the pixel's
        index = [100 * row + column for row, column in offsets]
        assert index == sorted(index)
        assert index[-1] < 0


# ------------------------------------------------------------------ dense algebra


@backends
@sizes
@radii
def test_against_dense_algebra(height, width, radius, backend, generator):
    """1e-13 is 450 eps: a sum of at most 41 terms, numbers up to 15, and |L^-1|_inf <= 4."""
    L = factor(generator, 2, height, width, radius, backend)
    dense = torch.stack([by_hand(L, 0), by_hand(L, 1)])
    assert torch.equal(L.dense(), dense)
    x = normal(generator, 3, 2, 1, height, width)
    columns = x.reshape(3, 2, -1).permute(1, 2, 0)
    expected = {
        "matvec": dense @ columns,
        "matvec_t": dense.mT @ columns,
        "solve": solve_triangular(dense, columns, upper=False),
        "solve_t": solve_triangular(dense.mT, columns, upper=True),
    }
    for method, answer in expected.items():
        y = getattr(L, method)(x).reshape(3, 2, -1).permute(1, 2, 0)
        torch.testing.assert_close(y, answer, rtol=0, atol=1e-13)
    torch.testing.assert_close(L.log_det(), dense.slogdet().logabsdet, rtol=1e-13, atol=1e-13)


@backends
def test_adjoint_identities(backend, generator):
    """<M x, y> = <x, M^T y>, to rounding: 10 eps of the product of the norms."""
    L = factor(generator, 1, 33, 47, 3, backend)
    x, y = (normal(generator, 1, 1, 33, 47) for _ in range(2))
    for method in ("matvec", "solve"):
        there, back = getattr(L, method)(x), getattr(L, f"{method}_t")(y)
        gap = (there * y).sum() - (x * back).sum()
        assert gap.abs() <= 10 * EPS * there.norm() * y.norm()


@backends
@methods
def test_a_solve_undoes_a_product(method, backend, generator):
    """In float32 on a large image, by Higham's bound for substitution.

    |L u - v| <= gamma_n |L| |u| entry by entry, with n = m + 1 roundings for the terms of a row;
    dividing by the diagonal before the recursion adds two, hence n = m + 3 and another m + 1 for
    the product.
    """
    L = factor(generator, 1, 256, 200, 3, backend, torch.float32)
    sizes = BandedCholesky(L.diagonal, L.offdiagonal.abs(), 3, backend)
    inverse = {"matvec": "solve", "matvec_t": "solve_t", "solve": "matvec", "solve_t": "matvec_t"}
    product = method if method.startswith("matvec") else inverse[method]
    v = normal(generator, 1, 1, 256, 200, dtype=torch.float32)
    u = getattr(L, inverse[product])(v)
    residual = (getattr(L, product)(u) - v).abs()
    bound = (2 * 24 + 4) * torch.finfo(torch.float32).eps / 2 * getattr(sizes, product)(u.abs())
    assert (residual <= bound).all()


# ------------------------------------------------------------------ batches


@backends
@methods
def test_leading_axes_broadcast(method, backend, generator):
    """Each pair of factor and image is computed as if alone; sums run in the same order: equal."""
    L = factor(generator, 3, 5, 4, 2, backend)
    alone = [BandedCholesky(L.diagonal[[b]], L.offdiagonal[[b]], 2, backend) for b in range(3)]
    x = normal(generator, 2, 2, 3, 1, 5, 4)
    y = getattr(L, method)(x)
    assert y.shape == x.shape
    for b in range(3):
        assert torch.equal(y[:, :, b], getattr(alone[b], method)(x[:, :, b]))
    shared = getattr(L, method)(x[0, 0, :1])  # one image for all factors
    assert torch.equal(shared, getattr(L, method)(x[0, 0, :1].expand(3, 1, 5, 4)))
    many = getattr(L, method)(x[:, :, :1])
    assert torch.equal(many, getattr(L, method)(x[:, :, :1].expand_as(x)))


@backends
@methods
def test_not_contiguous(method, backend, generator):
    L = factor(generator, 2, 6, 5, 1, backend)
    x = normal(generator, 5, 6, 1, 2).permute(3, 2, 1, 0)
    turned = BandedCholesky(
        L.diagonal.mT.contiguous().mT, L.offdiagonal.mT.contiguous().mT, 1, backend
    )
    assert torch.equal(getattr(turned, method)(x), getattr(L, method)(x.contiguous()))


@backends
@methods
def test_what_lies_outside_the_image_does_not_count(method, backend, generator):
    L = factor(generator, 1, 4, 3, 2, backend)
    inside = [
        [[i + row >= 0 and 0 <= j + column < 3 for j in range(3)] for i in range(4)]
        for row, column in causal_offsets(2)
    ]
    kept = torch.where(torch.tensor(inside), L.offdiagonal, 1e3).requires_grad_()
    changed, x = BandedCholesky(L.diagonal, kept, 2, backend), normal(generator, 1, 1, 4, 3)
    y = getattr(changed, method)(x)
    assert torch.equal(y, getattr(L, method)(x))
    (grad,) = torch.autograd.grad(y.sum(), kept)
    assert torch.equal(grad[0] != 0, torch.tensor(inside))


# ------------------------------------------------------------------ derivatives


@pytest.mark.slow
@backends
@methods
@pytest.mark.parametrize(
    ("factors", "image", "radius"),
    [((2, 3, 3), (2, 2, 1, 3, 3), 1), ((1, 3, 2), (2, 1, 3, 2), 2), ((2, 2, 3), (1, 1, 2, 3), 1)],
    ids=["a factor an image", "one factor", "one image"],
)
def test_derivatives(method, backend, factors, image, radius, generator):
    """First and second, by finite differences (tolerances of gradcheck)."""
    L = factor(generator, *factors, radius, backend)
    inputs = (L.diagonal, L.offdiagonal, normal(generator, *image))

    def run(d, o, x):
        return getattr(BandedCholesky(d, o, radius, backend), method)(x)

    inputs = [t.requires_grad_() for t in inputs]
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


def test_derivative_of_the_log_determinant(generator):
    d = factor(generator, 2, 3, 4, 1).diagonal.requires_grad_()
    o = torch.zeros(2, 4, 3, 4, dtype=F64)
    assert gradcheck(lambda d: BandedCholesky(d, o, 1).log_det(), d)


@backends
@methods
def test_the_page_of_the_book_differentiates_to_the_same(method, backend, generator):
    """Autograd through shifts and fronts gives the closed form; 1e-13 as for the values."""
    L = factor(generator, 2, 5, 6, 2, backend)
    x, weight = (normal(generator, 3, 2, 1, 5, 6) for _ in range(2))
    inputs = [t.requires_grad_() for t in (L.diagonal, L.offdiagonal, x)]
    closed = torch.autograd.grad((weight * getattr(L, method)(x)).sum(), inputs)
    y = getattr(_reference, method)(L.diagonal[:, 0], L.offdiagonal, x[:, :, 0], 2)
    for a, b in zip(closed, torch.autograd.grad((weight[:, :, 0] * y).sum(), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_only_what_is_asked_for_is_differentiated(generator):
    L, x = factor(generator, 1, 3, 3, 1), normal(generator, 1, 1, 3, 3)
    y = L.solve_t(x.requires_grad_())
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, L.solve(torch.ones_like(x)), rtol=0, atol=0)
    d = L.diagonal.requires_grad_()
    assert torch.autograd.grad(L.matvec(x.detach()).sum(), d)[0].equal(x)


# ------------------------------------------------------------------ samples


@backends
def test_covariance_of_samples(backend, generator):
    """It is (L L^T)^-1, within the error of N draws.

    S the covariance of N draws, p = 30 numbers each, and D the dense L: the whitened D^T S D is a
    Wishart matrix over N, so E |D^T S D - I|_F^2 = (p^2 + p) / N. This sum of 465 squares, nearly
    independent, has a relative spread of sqrt(2 / 465) = 7 %, its root half of it: 1.15 leaves
    four spreads. The covariance (L^T L)^-1 of a wrong solve is 4 such errors away.
    """
    n, L = 20_000, factor(generator, 1, 6, 5, 2, backend)
    L = BandedCholesky(L.diagonal, -3 * L.offdiagonal.abs(), 2, backend)  # stronger correlation
    dense, error = by_hand(L, 0), ((30**2 + 30) / n) ** 0.5
    wrong = torch.linalg.inv(dense.T @ dense)
    u = L.sample(generator, n).reshape(n, 30)

    def distance(covariance):
        return (dense.T @ covariance @ dense - torch.eye(30, dtype=F64)).norm()

    assert distance(u.T @ u / n) <= 1.15 * error
    assert distance(wrong) >= 3 * error


def test_samples_come_from_the_generator(generator):
    L = factor(generator, 2, 4, 5, 1, dtype=torch.float32)
    draws = [L.sample(torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert draws[0].shape == (2, 1, 4, 5)
    assert draws[0].dtype == torch.float32
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert L.sample(generator, 1).shape == (1, 2, 1, 4, 5)
    eps = normal(torch.Generator().manual_seed(3), 7, 2, 1, 4, 5, dtype=torch.float32)
    assert torch.equal(L.sample(torch.Generator().manual_seed(3), 7), L.solve_t(eps))
    with pytest.raises(TypeError, match="generator"):
        L.sample(None)
    with pytest.raises(ValueError, match="n must be a whole number >= 1, got 0"):
        L.sample(generator, 0)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": -1}, "radius must be a whole number >= 0, got -1"),
        ({"radius": 1.0}, "radius must be a whole number"),
        ({"diagonal": torch.ones(8, 8)}, r"diagonal as \(B, 1, H, W\).*got \(8, 8\)"),
        ({"diagonal": torch.ones(2, 3, 8, 8)}, r"got \(2, 3, 8, 8\)"),
        ({"diagonal": torch.ones(2, 1, 8, 8).half()}, r"float32 or float64, got torch\.float16"),
        ({"diagonal": torch.ones(2, 1, 8, 8).double()}, r"the off-diagonals in torch\.float64"),
        ({"offdiagonal": torch.zeros(2, 5, 8, 8)}, r"as \(2, 4, 8, 8\), got \(2, 5, 8, 8\).*m = 4"),
        ({"radius": 2}, r"as \(2, 12, 8, 8\).*5 x 5 pixels \(radius 2\) has m = 12"),
        ({"radius": 3}, "m = 24 causal neighbours"),
        ({"diagonal": torch.zeros(2, 1, 8, 8)}, r"finite and > 0, and 128 of its .*smallest 0"),
        ({"diagonal": torch.full((2, 1, 8, 8), torch.inf)}, "finite and > 0, and 128"),
        ({"diagonal": torch.full((2, 1, 8, 8), torch.nan)}, "finite and > 0, and 128"),
        ({"offdiagonal": torch.full((2, 4, 8, 8), torch.nan)}, "512 off-diagonals are NaN"),
        ({"backend": "c"}, "expected one of .*, got 'c'"),
    ],
)
def test_bad_factor(change, message):
    good = {"diagonal": torch.ones(2, 1, 8, 8), "offdiagonal": torch.zeros(2, 4, 8, 8), "radius": 1}
    with pytest.raises(ValueError, match=message):
        BandedCholesky(**(good | change))


@methods
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 8, 8), r"shape \(\.\.\., 2, 1, 8, 8\), got \(1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 9), r"got \(2, 1, 8, 9\)"),
        (torch.zeros(2, 3, 8, 8), r"got \(2, 3, 8, 8\).*one factor a channel"),
        (torch.zeros(3, 1, 8, 8), r"got \(3, 1, 8, 8\)"),
        (torch.zeros(0, 2, 1, 8, 8), r"got \(0, 2, 1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8).double(), r"expected x in torch\.float32 on cpu .*torch\.float64"),
    ],
)
def test_bad_image(method, x, message):
    L = BandedCholesky(torch.ones(2, 1, 8, 8), torch.zeros(2, 4, 8, 8), 1)
    with pytest.raises(ValueError, match=rf"BandedCholesky\.{method}: .*{message}"):
        getattr(L, method)(x)


def test_finite_numbers_whose_sum_is_not_are_accepted():
    huge = torch.full((1, 1, 2, 2), 3e38)
    L = BandedCholesky(huge, huge.expand(1, 4, 2, 2), 1)
    assert L.log_det().isfinite().all()
