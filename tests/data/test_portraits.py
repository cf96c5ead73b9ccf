"""Puppets: the same person for everybody who asks, and factors that do what they say."""

from dataclasses import fields, replace

import pytest
import torch

from course_lib.data import portraits
from course_lib.data.portraits.cells import Cells
from course_lib.data.portraits.shapes import capsule, ellipsoid, smooth_max, smooth_min, sphere

SMALL = 24  # pixels: enough to see an effect, quick to draw


@pytest.fixture(scope="module")
def people():
    return portraits.factors(torch.arange(4), seed=7)


def draw(factors, **options):
    return portraits.render(factors, **{"size": SMALL, **options})


def filled(factors, **values):
    """The same people with some factors set to one number for all."""
    tensors = {
        name: torch.full_like(getattr(factors, name), value) for name, value in values.items()
    }
    return replace(factors, **tensors)


# Who is drawn


@pytest.mark.slow
def test_a_portrait_does_not_depend_on_its_batch():
    index = torch.arange(12)
    together, _ = portraits.sample(index, seed=5, size=SMALL)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    apart = torch.empty_like(together)
    for some in order.split(5):
        apart[some], _ = portraits.sample(some, seed=5, size=SMALL)
    # Elementwise arithmetic only; a vector unit may round the last elements of a row differently.
    assert torch.allclose(together, apart, rtol=0, atol=1e-5)
    eight_bits = [(255 * images).round() for images in (together, apart)]
    assert (eight_bits[0] != eight_bits[1]).float().mean() < 1e-4


def test_factors_are_functions_of_seed_and_index():
    all_at_once = portraits.factors(torch.arange(50), seed=3)
    for rows in (torch.tensor([49, 4, 4]), torch.tensor([17], dtype=torch.int32)):
        some = portraits.factors(rows, seed=3)
        for field in fields(some):
            if field.name not in ("seed", "index"):
                expected = getattr(all_at_once, field.name)[rows.long()]
                assert torch.equal(getattr(some, field.name), expected)


def test_seeds_and_numbers_name_different_people():
    first, _ = portraits.sample(torch.arange(2), seed=0, size=SMALL)
    second, _ = portraits.sample(torch.arange(2), seed=1, size=SMALL)
    for a, b in ((first[0], first[1]), (first[0], second[0]), (first[1], second[1])):
        assert (a - b).abs().mean() > 0.02


def test_factors_fill_their_ranges():
    many = portraits.factors(torch.arange(4000), seed=0)
    names = {field.name for field in fields(many)}
    assert names == {*portraits.RANGES, "seed", "index", "hair", "glasses", "beard"}
    for name, (low, high) in portraits.RANGES.items():
        values = (getattr(many, name) - low) / (high - low)
        assert values.shape == (4000,)
        assert values.min() >= -1e-5  # rounding of low + (high - low) u
        assert values.max() <= 1 + 1e-5
        assert values.min() < 0.01  # missed by 4000 uniform draws once in e^40
        assert values.max() > 0.99
    assert many.hair.unique().tolist() == list(range(len(portraits.HAIR_STYLES)))
    # Five standard deviations of a share of 0.2 among 4000 are 0.032.
    assert abs(many.glasses.float().mean() - 0.2) < 0.032
    assert abs(many.beard.float().mean() - 0.22) < 0.033


def test_rows_are_taken_together(people):
    mask = people.glasses > 0
    assert torch.equal(people[mask].yaw, people.yaw[mask])
    assert len(people[1:3]) == 2
    assert people[[3]].seed == people.seed
    assert torch.equal(draw(people[[3, 1]]), draw(people[torch.tensor([3, 1])]))


# What a picture is


@pytest.mark.parametrize(("size", "colour"), [(16, False), (30, True), (64, False)])
def test_pictures_are_in_range(people, size, colour):
    images = portraits.render(people[:3], size=size, colour=colour)
    assert images.shape == (3, 3 if colour else 1, size, size)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert (images.std(dim=(1, 2, 3)) > 0.04).all()  # pictures, not blanks


def test_nobody_is_a_batch_too():
    images, _ = portraits.sample(torch.arange(0), seed=0, colour=True)
    assert images.shape == (0, 3, 64, 64)


def test_grey_and_colour_show_the_same_person(people):
    grey = draw(people)
    luma = (draw(people, colour=True) * torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]).sum(
        1, True
    )
    pairs = torch.stack([grey.flatten(1), luma.flatten(1)], 1)
    assert all(torch.corrcoef(pair)[0, 1] > 0.98 for pair in pairs)
    assert (draw(people, colour=True).std(dim=1).amax(dim=(1, 2)) > 0.02).all()


def test_grain_belongs_to_the_number_and_is_faint(people):
    renamed = replace(people, index=people.index + 100)
    difference = draw(renamed) - draw(people)
    # The difference of two independent grains of 0.006, times the tone curve's slope of at most 1.
    assert 0.5 * 0.006 * 2**0.5 < difference.std() <= 1.05 * 0.006 * 2**0.5


# What the factors do


def test_glasses_change_the_middle_of_the_head_only(people):
    frontal = filled(people, yaw=0, pitch=0, roll=0, shift_x=0, shift_y=0, light_elevation=0)
    change = draw(filled(frontal, glasses=1)) - draw(filled(frontal, glasses=0))
    rows = change.abs().amax(dim=(0, 1, 3))
    assert (change.abs().amax(dim=(1, 2, 3)) > 0.05).all()
    assert rows[: SMALL // 5].max() < 1e-4  # above the brows nothing has moved
    assert rows[-SMALL // 5 :].max() < 1e-4  # nor at the shoulders


def test_background_shows_in_the_upper_corners(people):
    dark, light = (draw(filled(people, background=b))[..., :2, [0, -1]] for b in (0.05, 0.6))
    assert (light - dark).amin() > 0.3


def test_light_from_the_right_brightens_the_right(people):
    plain = filled(people, hair=portraits.BALD, shift_x=0, yaw=0, roll=0)
    from_left, from_right = (draw(filled(plain, light_azimuth=a)) for a in (-1, 1))
    face = slice(SMALL // 4, 3 * SMALL // 4)

    def excess(images):
        """Right minus left half of the face."""
        left, right = images[..., face, face].mean(dim=(1, 2)).chunk(2, dim=-1)
        return right.mean(-1) - left.mean(-1)

    assert (excess(from_right) > 0).all()
    assert (excess(from_left) < 0).all()


def symmetric(people):
    asymmetries = [name for name in portraits.RANGES if name.endswith("asymmetry")]
    others = ["gaze_x", "yaw", "roll", "shift_x", "light_azimuth"]
    plain = filled(people, hair=portraits.BALD, **dict.fromkeys(asymmetries + others, 0))
    # The hair of the brows has strands, which are not symmetric: shave them to a hair's breadth.
    return filled(plain, beard=0, brow_thickness=1e-4)


def mirror_difference(first, second):
    return (first - second.flip(-1)).abs().mean(dim=(1, 2, 3))


def test_without_asymmetry_a_face_is_its_mirror_image(people):
    plain = symmetric(people)
    # Only the grain of 0.006 differs, by 0.0068 on average, and shadows that are sampled at one
    # ray of each 2 x 2, the upper left one.
    assert mirror_difference(draw(plain), draw(plain)).max() < 0.012


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yaw", "roll", "light_azimuth", "gaze_x"])
def test_opposite_poses_are_mirror_images(people, name):
    plain = symmetric(people)
    high = 0.5 * portraits.RANGES[name][1]
    first, second = (draw(filled(plain, **{name: value})) for value in (high, -high))
    assert mirror_difference(first, second).max() < 0.012  # as above


@pytest.mark.slow
@pytest.mark.parametrize(("name", "axis"), [("yaw", -1), ("pitch", -2)])
def test_the_head_turns_to_the_right_and_up(people, name, axis):
    """A dark frame of spectacles moves with the face it sits on."""
    plain = replace(symmetric(people), glasses=torch.ones_like(people.glasses))
    bare = filled(plain, glasses=0)

    def place_of_glasses(angle):
        weight = (draw(filled(plain, **{name: angle})) - draw(filled(bare, **{name: angle}))).abs()
        weight = weight.sum(dim=(1, -3 - axis if axis == -1 else -1))
        return (weight * torch.arange(SMALL)).sum(-1) / weight.sum(-1)

    moved = place_of_glasses(0.3) - place_of_glasses(-0.3)
    assert (moved > 0).all() if name == "yaw" else (moved < 0).all()  # row 0 is the top


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["eye_size_asymmetry", "lid_asymmetry", "brow_asymmetry", "smile_asymmetry"]
)
def test_the_two_sides_of_a_face_differ(people, name):
    plain = filled(symmetric(people[:2]), brow_thickness=0.04)
    uneven = draw(filled(plain, **{name: portraits.RANGES[name][1]}), size=64)
    even = draw(plain, size=64)
    left, right = (uneven - even).chunk(2, dim=-1)
    for half in (left, right):
        assert (half.abs().amax(dim=(1, 2, 3)) > 0.01).all()
    assert ((left - right.flip(-1)).abs().amax(dim=(1, 2, 3)) > 0.02).all()


@pytest.mark.slow
def test_every_factor_but_those_of_colour_alters_a_grey_picture(people):
    """One person many times, with everything on; in each row one factor goes to its far end."""
    names = list(portraits.RANGES)
    crowd = people[[0] * len(names)]
    crowd = filled(crowd, beard=1, glasses=1, stripes=0.5, collar=-0.95, mouth_opening=0.03)
    crowd = filled(crowd, curl=0.8, hair=portraits.SIDE_PART)
    crowd.hair[names.index("hair_length")] = portraits.LONG
    moved = replace(crowd, **{name: getattr(crowd, name).clone() for name in names})
    for row, (name, (low, high)) in enumerate(portraits.RANGES.items()):
        values = getattr(moved, name)
        values[row] = low if 2 * values[row] > low + high else high
    change = (draw(moved, size=16) - draw(crowd, size=16)).abs().amax(dim=(1, 2, 3))
    for name, largest in zip(names, change.tolist(), strict=True):
        constant_luma = name.endswith("_hue") or name == "hair_warmth"
        assert largest < 1e-5 if constant_luma else largest > 1e-3, name


# Shapes


def cloud(generator):
    return (3 * torch.rand(3, 1, 200, generator=generator, dtype=torch.float64) - 1.5).unbind(0)


def test_sphere_and_capsule_are_exact(generator):
    """Against the nearest of many points of the segment."""
    x, y, z = cloud(generator)
    assert torch.allclose(
        sphere(x, y, z, 0.4), torch.stack([x, y, z]).norm(dim=0) - 0.4, rtol=0, atol=1e-12
    )
    start, end = (0.2, -0.5, 0.1), (-0.4, 0.7, 0.6)
    a, b = torch.tensor(start).double(), torch.tensor(end).double()
    spine = a + torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None] * (b - a)
    points = torch.cat([x, y, z]).T
    brute = torch.cdist(points, spine).min(1).values - 0.25
    # The spine is sampled every 0.00036; a nearest sample is off by that, at most.
    assert torch.allclose(capsule(x, y, z, start, end, 0.25, 0.25)[0], brute, rtol=0, atol=4e-4)


def test_ellipsoid_is_zero_on_its_surface_with_unit_slope(generator):
    x, y, z = cloud(generator)
    length = (x * x + y * y + z * z).sqrt()
    radii = (0.7, 0.9, 0.5)
    x, y, z = (r * c / length for r, c in zip(radii, (x, y, z), strict=True))
    on_it = [c.requires_grad_() for c in (x, y, z)]
    value = ellipsoid(*on_it, *radii)
    assert value.abs().max() < 1e-8  # 1e-9 is added under a root
    slope = torch.stack(torch.autograd.grad(value.sum(), on_it)).norm(dim=0)
    assert torch.allclose(slope, torch.ones_like(slope), rtol=0, atol=1e-6)


def test_smooth_union_and_intersection(generator):
    """Within width / 4 of the sharp ones, equal to them far from the seam, each other's dual."""
    a, b, _ = cloud(generator)
    union, width = smooth_min(a, b, 0.2), 0.2
    deficit = torch.minimum(a, b) - union
    assert deficit.min() >= 0
    assert deficit.max() <= width / 4 + 1e-12
    assert (deficit[(a - b).abs() > width] == 0).all()
    assert torch.allclose(smooth_max(a, b, 0.2), -smooth_min(-a, -b, 0.2), rtol=0, atol=1e-12)


def test_cells_put_back_what_they_took(generator):
    pictures = torch.rand(2, 3, 12, 12, generator=generator)
    mask = torch.rand(2, 4, 4, generator=generator) < 0.4
    cells = Cells.where(mask)
    assert torch.equal(cells.put(cells.take(pictures, 3), 3, pictures), pictures)
    painted = cells.put(torch.ones_like(cells.take(pictures, 3)), 3, torch.zeros_like(pictures))
    wanted = mask[:, None].repeat_interleave(3, 2).repeat_interleave(3, 3).expand_as(pictures)
    assert (painted[wanted] == 1).all()


# Errors


@pytest.mark.parametrize(
    "index", [torch.tensor([0.0]), torch.tensor([True]), torch.tensor(3), torch.tensor([2, -1])]
)
def test_an_index_is_a_vector_of_non_negative_integers(index):
    with pytest.raises(ValueError, match="expected index"):
        portraits.factors(index, seed=0)


@pytest.mark.parametrize("size", [0, 14, 65, -64])
def test_sizes_are_even_and_not_tiny(people, size):
    with pytest.raises(ValueError, match="even size of at least 16"):
        portraits.render(people, size=size)
