"""A folder of results from a file, and every refusal in words that help."""

import json
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.picture_files import read_picture, write_picture
from course_lib.inference.plug_and_play.noise_rule import WEIGHTS
from course_lib.operators import bicubic_kernel, gaussian_kernel
from course_lib.project import CourseError
from course_lib.restore import files as module
from course_lib.restore.files import restore_file, restore_old_file
from course_lib.restore.methods import choose_method, choose_old_photo_restorer
from course_lib.restore.old_photos import OldPhotoRestorer
from course_lib.restore.task import Task
from course_lib.rng import generator_from


@pytest.fixture
def photo(tmp_path):
    """A grey ramp of 24 x 32 pixels with noise of 5 grey levels."""
    g = generator_from(0)
    image = torch.linspace(0.2, 0.8, 32) + 5 / 255 * torch.randn(1, 24, 32, generator=g)
    write_picture(tmp_path / "photo.png", image)
    return tmp_path / "photo.png"


def restore(photo, **options):
    """The fastest way to a result, unless the options say otherwise."""
    told = []
    options = {"operator": "denoise", "method": "wiener"} | options
    parts = {
        kind: {name: options.pop(name) for name in signature(kind).parameters if name in options}
        for kind in (Task, choose_method)
    }
    task, method = (kind(**given) for kind, given in parts.items())
    summary = restore_file(photo, photo.parent / "out", task, method, tell=told.append, **options)
    return summary, "\n".join(told)


def names(photo) -> set[str]:
    return {file.name for file in (photo.parent / "out").iterdir()}


# ------------------------------------------------------------------ results


def test_vble_writes_estimate_spread_and_samples(photo):
    summary, told = restore(photo, method="vble", n_steps=2, n_samples=2)
    written = {"estimate.png", "std.png", "sample_1.png", "sample_2.png", "summary.json"}
    assert names(photo) == written
    out = photo.parent / "out"
    assert json.loads((out / "summary.json").read_text()) == summary
    for name in written - {"summary.json"}:
        assert read_picture(out / name).image.shape == (1, 24, 32)
    assert summary["method"] == "VBLE-xz"
    assert summary["model"] == "structured_vae_photos64"
    # The scale of std.png is what the summary says: rounding of a root mean square to grey levels.
    white = summary["std_white_in_grey_levels"]
    seen = white * read_picture(out / "std.png").image.square().mean().sqrt().item()
    assert summary["clipped_part_of_std"] < 0.01
    assert seen == pytest.approx(summary["std_in_grey_levels"], abs=0.1 * white)
    assert f"white is {white} grey levels" in told


@pytest.mark.slow
def test_plug_and_play_writes_an_estimate_and_its_weight(photo):
    summary, _ = restore(photo, method="pnp", operator="deblur", kernel_std=0.8, sigma=5.0)
    assert names(photo) == {"estimate.png", "summary.json"}
    assert (summary["method"], summary["model"]) == ("pnp", "diffusion_photos32")
    assert summary["weight"] in WEIGHTS
    fixed, _ = restore(
        photo, method="pnp", weight=0.3, operator="deblur", kernel_std=0.8, force=True
    )
    assert fixed["weight"] == 0.3


def test_noise_is_estimated_and_said_to_be(photo):
    summary, told = restore(photo)
    assert summary["sigma_estimated"]
    assert summary["sigma_in_grey_levels"] == pytest.approx(5, rel=0.15)  # 768 pixels: 1 / sqrt(n)
    assert "estimated from the file; `sigma` sets it" in told
    summary, told = restore(photo, sigma=4.0, force=True)
    assert summary["sigma_in_grey_levels"] == 4
    assert "4.00 grey levels (as given)" in told


def test_a_flat_picture_has_the_noise_of_its_rounding(photo):
    write_picture(photo, torch.full((1, 24, 32), 0.5))
    assert restore(photo)[0]["sigma_in_grey_levels"] == pytest.approx(12**-0.5)


@pytest.mark.slow
def test_a_wrong_kernel_is_noticed(photo):
    board = (torch.arange(24)[:, None] + torch.arange(32)) % 2
    write_picture(photo, board[None].float())
    _, told = restore(photo, operator="deblur", kernel_std=2.0, sigma=1.0)
    assert "does not explain the picture" in told


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_a_kernel_from_a_file_is_scaled_to_sum_one(photo, suffix):
    kernel = gaussian_kernel(1.0)[0, 0]
    file = photo.with_name(f"kernel{suffix}")
    if suffix == ".npy":
        np.save(file, 7 * kernel.numpy())
    else:
        write_picture(file, kernel[None] / kernel.max(), bits=16)
    restore(photo, operator="deblur", kernel_std=1.0, sigma=5.0)
    expected = read_picture(photo.parent / "out" / "estimate.png").image
    restore(photo, operator="deblur", kernel_file=file, sigma=5.0, force=True)
    found = read_picture(photo.parent / "out" / "estimate.png").image
    assert (found - expected).abs().max() <= 1.01 / 255  # rounding of kernel and result


def test_super_resolution_of_transparent_colours(photo):
    image = torch.rand(3, 12, 14, generator=generator_from(1))
    write_picture(photo, image, alpha=(image[:1] > 0.5).float())
    summary, _ = restore(photo, operator="super-resolution", factor=2, sigma=2.0)
    found = read_picture(photo.parent / "out" / "estimate.png")
    assert found.image.shape == (3, 24, 28)
    alpha = (image[:1] > 0.5).float()
    assert torch.equal(found.alpha, alpha.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert summary["factor"] == 2
    task = Task("super-resolution", factor=2, sigma=2.0)
    assert torch.equal(task.degradation(image).kernel, bicubic_kernel(2))


def test_a_mask_is_white_where_pixels_are_seen(photo):
    """A hole in a ramp is filled along the ramp."""
    image, mask = read_picture(photo).image, torch.ones(1, 24, 32)
    image[:, 8:16, 12:20] = mask[:, 8:16, 12:20] = 0
    write_picture(photo, image)
    write_picture(photo.with_name("mask.png"), mask)
    restore(photo, operator="inpaint", mask_file=photo.with_name("mask.png"), sigma=5.0)
    found = read_picture(photo.parent / "out" / "estimate.png").image
    ramp = torch.linspace(0.2, 0.8, 32)[12:20]
    assert (found[:, 8:16, 12:20] - ramp).abs().max() < 0.1


def test_sixteen_bits_stay_sixteen(photo):
    write_picture(photo, read_picture(photo).image, bits=16)
    restore(photo)
    assert read_picture(photo.parent / "out" / "estimate.png").bits == 16


def test_results_are_replaced_only_when_told(photo):
    restore(photo, method="vble", n_steps=1, n_samples=3)
    with pytest.raises(CourseError, match=r"holds results already .*another `out`.*`force`"):
        restore(photo)
    assert "sample_3.png" in names(photo)
    (photo.parent / "out" / "mine.txt").write_text("keep")
    restore(photo, force=True)
    assert names(photo) == {"estimate.png", "summary.json", "mine.txt"}  # nothing stale


def test_nothing_of_the_user_is_lost(photo):
    """Files whose names are like those of results stay; a result never replaces an input."""
    restore(photo)
    out = photo.parent / "out"
    (out / "sample_holiday.png").write_text("mine")
    restore(photo, force=True)
    assert (out / "sample_holiday.png").read_text() == "mine"
    before = (out / "estimate.png").read_bytes()
    task, method = Task("denoise", sigma=5.0), choose_method("wiener")
    with pytest.raises(CourseError, match=r"would replace .*estimate.png itself. Give another"):
        restore_file(out / "estimate.png", out, task, method, force=True)
    assert (out / "estimate.png").read_bytes() == before


# ------------------------------------------------------------------ old photographs


def restore_old(photo, **options):
    told = []
    restorer = OldPhotoRestorer(lambda x: (x > 0.95).to(x), lambda x, _: x)
    summary = restore_old_file(photo, photo.parent / "out", restorer, tell=told.append, **options)
    return summary, "\n".join(told)


def test_an_old_photograph_with_its_mask_and_both_side_by_side(photo):
    image = read_picture(photo).image
    image[:, 10, 5:20] = 1.0
    write_picture(photo, image)
    summary, told = restore_old(photo, facts={"model": "identity"})
    assert names(photo) == {"estimate.png", "mask.png", "before_after.png", "summary.json"}
    out = photo.parent / "out"
    mask = read_picture(out / "mask.png").image
    expected = torch.ones(1, 24, 32)
    expected[:, 9:12, 4:21] = 0
    assert torch.equal(mask, expected)
    assert read_picture(out / "before_after.png").image.shape == (1, 24, 64)
    assert summary["lost_part"] == pytest.approx(3 * 17 / (24 * 32))
    assert summary["model"] == "identity"
    assert "Damage: 6.6% of the pixels (found)" in told


def test_a_mask_of_ones_own_is_taken(photo, tmp_path):
    seen = torch.ones(1, 24, 32)
    seen[:, :6] = 0
    write_picture(tmp_path / "seen.png", seen)
    summary, told = restore_old(photo, mask_file=tmp_path / "seen.png")
    assert summary["lost_part"] == 0.25
    assert "(as given)" in told
    with pytest.raises(CourseError, match="holds results already"):
        restore_old(photo)
    with pytest.raises(CourseError, match="`method`: there is direct, translation; got 'magic'"):
        choose_old_photo_restorer("magic")


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "sharpen"}, "`operator`: there is deblur, .*, denoise; got 'sharpen'"),
        ({"method": "magic"}, "`method`: there is vble, .*, tv; got 'magic'"),
        ({"operator": "deblur"}, "deblur needs the blur: `kernel_std=1.5`"),
        (
            {"operator": "deblur", "kernel_std": 1.0, "kernel_file": Path("k.npy")},
            "`kernel_std` or `kernel_file`, not both",
        ),
        ({"operator": "deblur", "kernel_std": -1.0}, "`kernel_std`: expected pixels, more than 0"),
        ({"operator": "deblur", "kernel_std": 9.0}, "73 x 73 pixels, more than the picture"),
        ({"kernel_std": 1.0}, "A kernel is for deblur and super-resolution, not for denoise"),
        ({"factor": 2}, "`factor` is for super-resolution, not for denoise"),
        ({"operator": "super-resolution"}, "super-resolution needs 2 ... 8, got none"),
        ({"operator": "super-resolution", "factor": 9}, "needs 2 ... 8, got 9"),
        (
            {"operator": "inpaint", "sigma": 2.0},
            "inpaint needs `mask_file`: a picture, white where",
        ),
        ({"sigma": 0.02}, "grey levels of 255, from 0.1 to 100, got 0.02. If.*`sigma=5.1`"),
        ({"sigma": 300.0}, "from 0.1 to 100, got 300.$"),
        ({"sigma": float("nan")}, "got nan.$"),
        ({"n_samples": 3}, "wiener has one answer and draws none; vble, vble-x, vble-z do"),
        ({"method": "vble", "n_samples": 101}, "`n_samples`: expected 0 ... 100, got 101"),
        ({"method": "vble", "n_steps": 0}, "`n_steps`: expected 1 or more, got 0"),
        ({"method": "vble", "weight": 1.0}, "`weight` is for pnp, wiener and tv; vble has none"),
        ({"weight": 0.0}, "`weight`: expected a positive number, got 0"),
        ({"tile": 100}, "`tile`: expected 256 pixels or more, got 100"),
        ({"device": "abacus"}, "`device`: abacus cannot be used"),
        ({"method": "vble", "model": "nothing"}, "No weights named 'nothing'"),
        (
            {"method": "vble", "model": "vae_portraits64_compact"},
            "is not what this method takes, or not for .*: .*structured_vae_photos64",
        ),
        ({"method": "pnp", "model": "vae_photos64"}, "There are: .*diffusion_photos32"),
        ({"model": "vae_photos64"}, "`model`: wiener has no network; leave it out"),
        ({"method": "pnp", "n_samples": 3}, "pnp has one answer and draws none"),
    ],
)
def test_what_does_not_fit_is_refused(photo, options, message):
    with pytest.raises(CourseError, match=message):
        restore(photo, **options)
    assert not (photo.parent / "out").exists()


def test_bad_files_are_refused(photo):
    with pytest.raises(CourseError, match="There is no file"):
        restore(photo.with_name("nothing.png"))
    mask = photo.with_name("mask.png")
    write_picture(mask, torch.zeros(1, 24, 32))
    with pytest.raises(CourseError, match="black all over; white says where"):
        restore(photo, operator="inpaint", mask_file=mask, sigma=2.0)
    write_picture(mask, torch.ones(1, 24, 31))
    with pytest.raises(CourseError, match="has 24 x 31 pixels, the picture 24 x 32"):
        restore(photo, operator="inpaint", mask_file=mask, sigma=2.0)
    write_picture(mask, torch.ones(1, 24, 32))
    with pytest.raises(CourseError, match="With a mask the noise cannot be estimated"):
        restore(photo, operator="inpaint", mask_file=mask)
    kernel = photo.with_name("kernel.npy")
    kernel.write_text("no numbers")
    with pytest.raises(CourseError, match=r"kernel.npy cannot be read"):
        restore(photo, operator="deblur", kernel_file=kernel)
    for bad in (np.zeros((3, 3)), -np.ones((3, 3)), np.ones(3)):
        np.save(kernel, bad)
        with pytest.raises(CourseError, match="a plane of numbers >= 0 that are not all zero"):
            restore(photo, operator="deblur", kernel_file=kernel)
    small = photo.with_name("small.png")
    write_picture(small, torch.ones(1, 8, 8))
    with pytest.raises(CourseError, match="this small does not show its noise"):
        restore(small)
    (photo.parent / "out").write_text("a file")
    with pytest.raises(CourseError, match="out is a file; give a folder"):
        restore(photo)


def test_a_gpu_that_is_too_small_says_what_to_do(photo, monkeypatch):
    def exhausted(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "restore_photo", exhausted)
    with pytest.raises(CourseError, match=r"memory of cpu does not suffice\. Try `device=cpu`"):
        restore(photo)  # no tiles
    with pytest.raises(CourseError, match=r"smaller `tile` \(now 1024\), or `device=cpu`"):
        restore(photo, method="vble")


def test_deep_colours_are_said_to_be_cut(photo, monkeypatch):
    picture = read_picture(photo)._replace(cut=True)
    monkeypatch.setattr(module, "read_picture", lambda path: picture)
    assert "16 bits a colour; 8 of them are used" in restore(photo)[1]
    with Image.open(photo.parent / "out" / "estimate.png") as file:
        assert file.mode == "L"
