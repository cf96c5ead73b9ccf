"""Alignment against brute force over all shifts."""

import pytest
import torch
from torch.nn.functional import pad

from course_lib.metrics import align, best_shift, kernel_similarity, psnr


@pytest.fixture
def images(generator):
    return torch.rand(3, 2, 6, 7, generator=generator, dtype=torch.float64)


def test_a_shifted_image_is_brought_back(images):
    shifts = [(0, 0), (2, -3), (-1, 6)]
    moved = torch.stack([x.roll(s, (-2, -1)) for x, s in zip(images, shifts, strict=True)])
    assert torch.equal(align(moved, images), images)
    assert best_shift(moved, images).tolist() == [[0, 0], [4, 3], [1, 1]]  # modulo (6, 7)


def test_no_shift_is_nearer(images, generator):
    other = torch.rand(1, 2, 6, 7, generator=generator, dtype=torch.float64)
    found = (align(images, other) - other).square().sum((1, 2, 3))
    for x, best in zip(images, found, strict=True):
        gaps = [
            (x.roll((r, c), (-2, -1)) - other[0]).square().sum() for r in range(6) for c in range(7)
        ]
        assert best == pytest.approx(min(gaps).item(), rel=1e-13)  # rounding of sums


def test_scores_do_not_see_a_translation(images):
    noisy = images + 0.01
    moved = noisy.roll((3, 5), (-2, -1))
    torch.testing.assert_close(psnr(align(moved, images), images), psnr(noisy, images))


def test_similarity_is_the_best_cosine_over_shifts_without_wrapping(generator):
    found = torch.rand(2, 1, 3, 5, generator=generator, dtype=torch.float64)
    truth = torch.rand(2, 1, 4, 3, generator=generator, dtype=torch.float64)
    wide = pad(truth, (5, 5, 3, 3))
    for b in range(2):
        cosines = [
            (wide[b, 0, r : r + 3, c : c + 5] * found[b, 0]).sum() / found[b].norm()
            for r in range(wide.shape[-2] - 2)
            for c in range(wide.shape[-1] - 4)
        ]
        expected = max(cosines) / truth[b].norm()
        assert kernel_similarity(found, truth)[b] == pytest.approx(expected.item(), rel=1e-13)


def test_similarity_of_a_kernel_with_itself_elsewhere_is_one(generator):
    kernel = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    kernel[..., 1:4, 2:4] = torch.rand(3, 2, generator=generator, dtype=torch.float64)
    assert kernel_similarity(kernel.roll((2, -1), (-2, -1)), kernel).item() == pytest.approx(1)
    assert kernel_similarity(kernel[..., 1:4, 2:4], kernel).item() == pytest.approx(1)
