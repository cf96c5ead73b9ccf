"""deepinv's algorithms run on our operators and stop where ours stop (skipped without deepinv)."""

import importlib.util
import sys

import pytest
import torch

from course_lib.functionals import LeastSquares, Tychonov
from course_lib.operators import (
    Blur,
    Denoising,
    Downsampling,
    GaussianNoise,
    PhaseRetrieval,
    PoissonNoise,
    bicubic_kernel,
    gaussian_kernel,
    to_deepinv,
)
from course_lib.operators.torchvision_shim import make_torchvision_importable
from course_lib.solvers import conjugate_gradient, tychonov

HAS_DEEPINV = importlib.util.find_spec("deepinv") is not None
needs_deepinv = pytest.mark.skipif(not HAS_DEEPINV, reason="deepinv is not installed")
# deepinv and its dependencies warn about their own insides.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def deepinv():
    make_torchvision_importable()
    return pytest.importorskip("deepinv")


def operators():
    return {
        "blur": Blur(gaussian_kernel(1.0, dtype=torch.float64), (1, 12, 15), GaussianNoise(0.02)),
        "downsampling": Downsampling((1, 12, 16), 2, bicubic_kernel(2, torch.float64)),
    }


@quiet
@needs_deepinv
@pytest.mark.parametrize("wrapped", [True, False], ids=["to_deepinv", "duck typing"])
@pytest.mark.parametrize("algorithm", ["PGD", "ADMM"])
@pytest.mark.parametrize("name", ["blur", "downsampling"])
def test_deepinv_reaches_our_optimum(deepinv, name, algorithm, wrapped, generator):
    """1/2 |A u - y|^2 + lam |grad u|^2, with Tychonov.prox handed over as deepinv's prior."""
    op, lam = operators()[name], 0.1
    y = op(
        torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64), generator=generator
    )
    f = LeastSquares(op, y) + Tychonov(lam)
    best = conjugate_gradient(f.hvp, op.A_adjoint(y), rtol=1e-13).x
    if name == "blur":
        assert torch.allclose(best, tychonov(op, y, lam).x, rtol=0, atol=1e-11)
    found = run(deepinv, algorithm, to_deepinv(op) if wrapped else op, y, lam)
    # Linear convergence; 2,000 iterations leave rounding and deepinv's own float32 scalars.
    assert (found - best).norm() <= 1e-6 * best.norm()


@quiet
@needs_deepinv
@pytest.mark.parametrize("wrapped", [True, False], ids=["to_deepinv", "duck typing"])
@pytest.mark.parametrize("name", ["blur", "downsampling"])
def test_half_quadratic_splitting_reaches_its_own_fixed_point(deepinv, name, wrapped, generator):
    """It alternates the two proximal maps, so its limit is theirs, not the minimiser of the sum."""
    op, lam = operators()[name], 0.1
    y = op(
        torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64), generator=generator
    )
    found = run(deepinv, "HQS", to_deepinv(op) if wrapped else op, y, lam)
    again = Tychonov(lam).prox(op.prox_l2(found, y, 1.0), 1.0)
    back = op.prox_l2(Tychonov(lam).prox(found, 1.0), y, 1.0)
    assert min((again - found).norm(), (back - found).norm()) <= 1e-6 * found.norm()


def run(deepinv, algorithm, physics, y, lam):
    class Prior(deepinv.optim.Prior):
        """Our regulariser behind deepinv's interface."""

        explicit_prior = True

        def fn(self, x, *_, **__):
            return Tychonov(lam)(x)

        def grad(self, x, *_, **__):
            return Tychonov(lam).grad(x)

        def prox(self, x, *_, gamma=1.0, **__):
            return Tychonov(lam).prox(x, float(gamma))

    model = getattr(deepinv.optim, algorithm)(
        prior=Prior(),
        data_fidelity=deepinv.optim.L2(),
        stepsize=1.0,
        lambda_reg=1.0,
        max_iter=2000,
        crit_conv="residual",
        thres_conv=1e-13,
        early_stop=True,
    )
    return model(y, physics).detach()


@quiet
@needs_deepinv
def test_the_wrapper_is_our_operator(deepinv, generator):
    op = operators()["blur"]
    physics = to_deepinv(op)
    x = torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64)
    y = op.A(x)
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    assert torch.equal(physics.A(x), y)
    assert torch.equal(physics.A_adjoint(y), op.A_adjoint(y))
    assert torch.equal(physics.A_dagger(y), op.A_dagger(y))
    assert torch.equal(physics.prox_l2(x, y, 0.3), op.prox_l2(x, y, 0.3))
    assert float(physics.noise_model.sigma) == pytest.approx(0.02)
    assert physics.adjointness_test(x).abs() <= 1e-12 * y.norm() * y.norm()


def test_only_linear_operators_are_wrapped(generator):
    with pytest.raises(TypeError, match="PhaseRetrieval"):
        to_deepinv(PhaseRetrieval(3, (1, 2, 2), generator))


def test_without_deepinv_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    with pytest.raises(ImportError, match="pip install deepinv"):
        to_deepinv(Denoising((1, 4, 4)))


@quiet
@needs_deepinv
def test_the_wrapper_takes_what_deepinv_passes(deepinv, generator):
    """The other noise model, a number or None for z, and one gamma per image."""
    op = Blur(gaussian_kernel(1.0, dtype=torch.float64), (1, 12, 15), PoissonNoise(0.1))
    physics = to_deepinv(op)
    assert float(physics.noise_model.gain) == pytest.approx(0.1)
    z = torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64)
    y, zero = op.A(z), torch.zeros_like(z)
    assert torch.equal(physics.prox_l2(None, y, 3.0), op.prox_l2(zero, y, 3.0))
    assert torch.equal(physics.prox_l2(0.0, y, 3.0), op.prox_l2(zero, y, 3.0))
    both = physics.prox_l2(z, y, torch.tensor([0.5, 4.0]).reshape(2, 1, 1, 1))
    for i, gamma in enumerate((0.5, 4.0)):
        assert torch.allclose(both[i], op.prox_l2(z[i], y[i], gamma), rtol=0, atol=1e-12)


def test_torchvision_can_be_imported_twice():
    make_torchvision_importable()
    torchvision = pytest.importorskip("torchvision")
    make_torchvision_importable()
    assert hasattr(torch.ops.torchvision, "nms")
    assert torchvision.models.squeezenet1_1
