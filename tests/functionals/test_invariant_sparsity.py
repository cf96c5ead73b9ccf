"""The fast mean over translations against the slow one."""

import pytest
import torch

from course_lib.functionals import InvariantSparsity, Sparsity, Wavelets


@pytest.mark.parametrize(("wavelet", "levels"), [("haar", 2), ("db2", 2), ("sym4", 1)])
def test_mean_over_all_translations(wavelet, levels, generator):
    img_size = (2, 8, 12)
    x = torch.randn(3, *img_size, generator=generator, dtype=torch.float64)
    plain = Sparsity(0.7, Wavelets(img_size, wavelet, levels), spare_coarsest=True)
    rolled = [plain(x.roll((i, j), (2, 3))) for i in range(8) for j in range(12)]
    found = InvariantSparsity(0.7, img_size, wavelet, levels)(x)
    # filters stored to 1e-12 in PyWavelets, sums of 600 numbers
    torch.testing.assert_close(found, torch.stack(rolled).mean(0), rtol=1e-10, atol=0)
    torch.testing.assert_close(
        InvariantSparsity(0.7, img_size, wavelet, levels)(x.roll(3, 2)), found, rtol=1e-12, atol=0
    )


def test_refusals():
    with pytest.raises(ValueError, match="halved"):
        InvariantSparsity(1.0, (1, 10, 12), levels=3)
    with pytest.raises(TypeError, match="no gradient"):
        InvariantSparsity(1.0, (1, 8, 8)).grad(torch.zeros(1, 1, 8, 8))
