"""A registered twin says what its formula says, and runs exactly where a kernel can serve."""

import pytest
import torch

from course_lib.functionals import SmoothedTV
from course_lib.kernels import backend
from course_lib.kernels.twins import TWINS, has_twin

INSTANCES = {"SmoothedTV": SmoothedTV(0.3, 0.02)}  # of every class with a twin


@pytest.mark.parametrize("name", list(TWINS))
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 3, 17, 31), (3, 1, 64, 64)], ids=str)
def test_formula_and_twin_agree(name, size, dtype, rtol, generator):
    formula, twin = TWINS[name]
    owner, _, method = name.partition(".")
    owner = INSTANCES[owner]
    x = torch.rand(size, generator=generator, dtype=dtype)
    expected = formula(owner, x)
    atol = rtol * expected.abs().max().item()
    for found in (twin(owner, x), getattr(owner, method)(x)):
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


class Named:
    """Says which of the two ran."""

    @has_twin(lambda self, x: "twin")
    def plain(self, x):
        return "formula"

    @has_twin(lambda self, x: "twin", differentiable=True)
    def smooth(self, x):
        return "formula"


for method in ("plain", "smooth"):
    del TWINS[f"Named.{method}"]


def test_the_twin_runs_where_a_kernel_can_serve(monkeypatch):
    f, x = Named(), torch.zeros(1, 1, 4, 4)
    assert (f.plain(x), f.smooth(x)) == ("twin", "twin")
    assert (f.plain(x.half()), f.smooth(x.half())) == ("formula", "formula")
    recorded = x.clone().requires_grad_()
    assert (f.plain(recorded), f.smooth(recorded)) == ("formula", "twin")
    with torch.no_grad():
        assert f.plain(recorded) == "twin"
    assert f.plain(x.to("meta")) == "formula"
    monkeypatch.setattr(backend, "installed", lambda name: False)
    assert (f.plain(x), f.smooth(x)) == ("formula", "formula")


def test_gradients_flow_through_formula_and_twin(generator):
    x = torch.rand(2, 1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    f = SmoothedTV(0.3, 0.1)
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    torch.testing.assert_close(slope, f.grad(x.detach()))
    assert torch.autograd.gradgradcheck(f, x)
    assert torch.autograd.gradcheck(f.grad, x)
