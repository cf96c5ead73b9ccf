"""Traces of Jacobians against the Jacobian itself."""

import torch
from torch.func import jacrev

from course_lib.diffusion.trace import ExactTrace, denoise_with_trace
from course_lib.exact import EmpiricalMixture


def test_trace_of_the_jacobian(generator):
    mixture = EmpiricalMixture(torch.rand(4, 1, 2, 3, generator=generator).double())
    x = torch.rand(1, 1, 2, 3, generator=generator).double()
    exact = ExactTrace((1, 2, 3))
    sigma = torch.tensor([0.3], dtype=torch.float64)
    found, forms = denoise_with_trace(mixture, x, sigma, exact.vectors.double())
    jacobian = jacrev(lambda x: mixture(x, 0.3))(x).reshape(6, 6)
    torch.testing.assert_close(found, mixture(x, 0.3))
    torch.testing.assert_close(forms[:, 0], jacobian.diagonal(), rtol=1e-10, atol=1e-12)
    total = jacobian.trace().view(1, 1)
    torch.testing.assert_close(exact.combine(forms), total, rtol=1e-10, atol=1e-12)
