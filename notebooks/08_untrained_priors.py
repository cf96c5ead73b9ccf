# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Priors without data, priors that bend
#
# **You will see** a network that no photograph ever taught repair one, because
# it learns images faster than noise, a rule for when to stop that does not
# look at the truth, a trained generator whose weights give way to the image
# at hand, and a pyramid of networks that learns all it knows from a single
# photograph.
#
# **You need** {doc}`chapter 7 <07_inversion>` (generators as priors) and
# {doc}`chapter 2 <02_gradient_descent>` (gradient descent).

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import load_photo, portraits
from course_lib.exercises import (
    check_filter_factors,
    check_moving_variance,
    check_receptive_field,
)
from course_lib.experiments.untrained_priors import PHOTOS
from course_lib.inference import (
    NetworkDescent,
    VarianceRule,
    deep_generative_prior,
    deep_image_prior,
    fit_singan,
    harmonise,
    impedance,
    singan_enlarge,
)
from course_lib.inference.untrained import TARGETS
from course_lib.metrics import psnr
from course_lib.models import SkipNetwork, load_pretrained
from course_lib.operators import (
    Denoising,
    GaussianNoise,
    Luminance,
    bicubic_downsampling,
    bicubic_upsampling,
    central_hole,
)
from course_lib.plotting import (
    compare,
    decibels,
    plot_curves,
    plot_history,
    show_images,
)
from course_lib.results import load_results
from course_lib.rng import generator_from

# %% tags=["remove-input"]
budget_card("08_untrained_priors")

# %% tags=["remove-cell"]
results = load_results("08_untrained_priors")
results.glue()

# %% [markdown]
# ## A network nobody trained
#
# Chapter 7 fixed the weights of a generator and searched its input.
# {cite:t}`ulyanov2018deep` do the opposite. Take a convolutional network
# $f_\theta$ with random weights, feed it one fixed image of noise $z$, and
# change the *weights* until its output explains the data,
#
# $$ \min_\theta \lVert A f_\theta(z) - y\rVert^2 . $$ (eq-dip)
#
# There are far more weights than pixels: the network can draw anything, noise
# included, and at the minimum it does. But it does not draw everything
# equally *soon*. Give it four targets: a photograph, the same with noise, the
# same with its pixels shuffled, and white noise.

# %%
photo = load_photo("camera", 64)
race = impedance(photo, n_steps=160, generator=generator_from(0))
variance = race.targets.flatten(2).var(2)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The four targets of the race.", "name": "fig-targets"}, "image": {"alt": "The photographer, the photographer with grain, a field of shuffled grey pixels, and white noise."}}
show_images(race.targets[:, 0], TARGETS, columns=4)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean square error of an untrained network on each target, in parts of the variance of the target. It follows the image at once and noise with reluctance: the architecture is the prior.", "name": "fig-impedance"}, "image": {"alt": "Four falling curves: the one of the image falls first and deepest, image with noise follows and lingers, shuffled pixels and white noise hardly fall within the first thirty steps and catch up later."}}
plot_history(
    {
        name: race.loss[:, i, 0] / variance[i, 0]
        for i, name in enumerate(TARGETS)
    },
    ylabel="error / variance",
)

# %% tags=["remove-cell"]
left = race.loss[30, :, 0] / variance[:, 0]
assert left[0] < left[1] / 2 < left[2:].min() / 4
assert race.loss[-1, 2, 0] < race.loss[-1, 1, 0]  # "catch up"
network = SkipNetwork(generator=generator_from(0))
assert round(sum(p.numel() for p in network.parameters()) / 64**2) == 9

# %% [markdown]
# After 30 steps, over five photographs of 64 x 64,
# {glue:text}`impedance_image:.1f` dB of the image's variance are left,
# {glue:text}`impedance_noisy:.1f` dB with noise,
# {glue:text}`impedance_shuffled:.1f` dB of shuffled pixels and
# {glue:text}`impedance_noise:.1f` dB of white noise. (Reluctance is not
# refusal: this network has nine weights for every pixel of so small an image,
# and within a hundred steps it begins to learn even shuffled pixels by heart,
# sooner than the last grains on top of the image.)
#
# ### Where it can be computed
#
# If the network were linear, $f_\theta(z) = B\theta$, gradient descent from
# $\theta = 0$ with steps $\tau$ would be Landweber's iteration of chapter 2.
# In the singular value decomposition of $AB$ it multiplies what the data say
# along a singular value $s$ by a **filter factor** that grows with the number
# $k$ of steps.
#
# :::{exercise} Filter factors
# :label: ex-filter
#
# Descent on $\frac12\lVert M\theta - y\rVert^2$ from $\theta = 0$: after $k$
# steps, $M\theta_k = \sum_i \varphi_k(s_i)\, u_i u_i^\top y$. Write
# $\varphi_k(s)$.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def filter_factor(s, tau, k):
    ### BEGIN SOLUTION
    return 1 - (1 - tau * s**2) ** k
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_filter_factors(filter_factor)

# %%
k = torch.arange(1, 2001)
singular_values = {
    "s = 1": 1.0,
    "s = 0.3": 0.3,
    "s = 0.1": 0.1,
    "s = 0.03": 0.03,
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Filter factors of early stopping, for a step of 1. Directions in which the network reacts strongly are drawn within a few steps, weak ones after hundreds: what comes last should be noise.", "name": "fig-filter"}, "image": {"alt": "Four rising curves from 0 to 1 on a logarithmic axis of steps, each later than the one before."}}
plot_curves(
    k,
    {
        label: filter_factor(torch.tensor(s), 1.0, k)
        for label, s in singular_values.items()
    },
    "step k",
    "filter factor",
    log="x",
)

# %% [markdown]
# So early stopping *is* regularisation, and the architecture decides what
# "strongly" means: convolutions at several scales react to what is smooth and
# self-similar. (A guarantee for the real thing this is not. The descent lemma
# asks for a gradient that is Lipschitz in $\theta$ and for plain steps; the
# loss of a network of two layers has no such constant, and Adam is not
# gradient descent: {doc}`E30 </book/errata>`.)
#
# ## The hump, and when to stop
#
# With noise in the data, the error first falls and then rises again, as the
# noise is learned too.

# %%
identity = Denoising((1, 64, 64), GaussianNoise(25 / 255))
noisy = identity(photo, generator=generator_from(1))
fit = deep_image_prior(
    identity,
    noisy,
    descent=NetworkDescent(max_iter=1000),
    stop=VarianceRule(keep_going=True),
    truth=photo,
    generator=generator_from(0),
)

# %% [markdown]
# Where is the top? Not in the loss, which always falls. But the *iterates*
# tell: on the way to the image they move in one direction, at the image they
# rest, and then they begin to follow the noise, which moves them again. So
# watch their variance over a window of recent steps, and stop where it is
# least {cite:p}`wang2023early`. No truth and no noise level is looked at.
#
# :::{exercise} A moving variance
# :label: ex-variance
#
# Write the variance of a sequence of images `x (steps, pixels)` over windows
# of `w` steps: for each window the sum of squares about its mean, divided by
# `w`, averaged over pixels. The answer has `steps - w + 1` numbers.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def moving_variance(x, w):
    ### BEGIN SOLUTION
    windows = x.unfold(0, w, 1)  # (steps - w + 1, pixels, w)
    return windows.var(-1, correction=0).mean(1)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_moving_variance(moving_variance)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "PSNR along the steps, with the stop of the variance rule and the one that an oracle would choose.", "name": "fig-hump"}, "image": {"alt": "A curve that rises to a hump within some hundred steps and falls slowly afterwards; two marks near its top."}}
steps = torch.arange(len(fit.history["psnr"]))
plot_curves(
    steps,
    {"deep image prior": fit.history["psnr"][:, 0]},
    "step",
    "PSNR (dB)",
    marks={
        "variance rule": (fit.step[0], psnr(fit.x, photo)[0]),
        "oracle": (fit.oracle.step[0], fit.oracle.psnr[0]),
    },
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The noisy photograph, the image at the stop of the rule, and the one after all steps, in which the grain is back.", "name": "fig-stopped"}, "image": {"alt": "A grainy photographer, a clean and slightly soft one, and one with part of the grain."}}
show_images(
    {
        "noisy": noisy,
        "stopped by the rule": fit.x,
        "after 1000 steps": fit.x_last,
    },
    truth=photo,
)

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "noisy": "noisy",
        "tv": "total variation, oracle",
        "rule": "deep image prior, variance rule",
        "oracle": "deep image prior, oracle",
        "last": "deep image prior, after all steps",
    },
    {"denoise": "PSNR (dB)"},
    "{column}_{row}",
    fmt=".2f",
)

# %% [markdown]
# That is the mean over five photographs of 96 x 96, noise 25/255. The rule
# stops at step {glue:text}`denoise_step:.0f` on average, the oracle at
# {glue:text}`oracle_step:.0f`.
#
# ## The table of the course
#
# The source of this chapter compares priors on super-resolution of five
# photographs, with these averages (PSNR in dB, luminance, borders cut;
# averages recomputed, {doc}`E20 </book/errata>`):
#
# | | no prior | bicubic | total variation | deep image prior | trained |
# |---|---:|---:|---:|---:|---:|
# | x4 | 26.56 | 28.44 | 28.86 | 29.90 | 31.59 to 32.10 |
# | x8 | 23.45 | 24.37 | 24.88 | 25.89 | 26.10 |
#
# The same with photographs of this book, 96 x 96, grey, whole images:

# %% tags=["hide-input", "nbval-check-output"]
priors = {
    "least_norm": "no prior (least norm)",
    "bicubic": "bicubic",
    "tv": "total variation, oracle",
    "dip": "deep image prior, variance rule",
    "dip_oracle": "deep image prior, oracle",
}
results.table(
    {f"x4_{key}": words for key, words in priors.items()},
    {**{name: name for name in PHOTOS}, "mean": "mean"},
    "{row}_{column}",
    fmt=".2f",
)

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {f"x8_{key}": words for key, words in priors.items()},
    {**{name: name for name in PHOTOS}, "mean": "mean"},
    "{row}_{column}",
    fmt=".2f",
)

# %% tags=["remove-cell"]
for factor in (4, 8):
    mean = {key: results[f"x{factor}_{key}_mean"].value for key in priors}
    assert mean["dip"] > mean["tv"] > mean["least_norm"] > mean["bicubic"]
    assert mean["dip_oracle"] - mean["dip"] < 0.05

# %% [markdown]
# The order of the source comes out again: total variation is above cubic
# interpolation, and the untrained network above total variation (even with
# the oracle on the side of total variation). Two remarks. The least-norm
# image $A^+y$ is *above* cubic interpolation here, while "no prior" is last
# in the source: there it is a descent stopped somewhere, here the exact limit,
# which undoes the prefilter of the camera where that can be undone. And
# without noise in the data there is hardly a hump: the variance rule and the
# oracle agree to a few hundredths of a decibel. Networks *trained* for the
# task follow in a later chapter.
#
# With every second pixel missing and no noise, the deep image prior has
# {glue:text}`half_dip:.2f` dB and total variation
# {glue:text}`half_tv:.2f` dB, on the same five photographs.
#
# ## A generator that bends
#
# Between the weights that know nothing and the weights that are not allowed
# to move lies the **deep generative prior** {cite:p}`pan2020exploiting`: start
# from a trained generator, find the best latent, then let the weights give
# way too, first in the coarse layers and then in the fine ones,
#
# $$ \min_{z, \theta}\; w\,\tfrac1m\lVert A G_\theta(z) - y\rVert^2
#    + \sum_i \bigl\langle |D_i(SAG_\theta(z)) - D_i(Sy)| \bigr\rangle
#    + \tfrac u2 \langle z^2\rangle , $$ (eq-dgp)
#
# where $D_i$ are features of the *discriminator*, which has learned what
# matters in such images, $\langle\cdot\rangle$ is a mean, and $S$ brings
# measurements to the size of an image. Every image gets weights of its own,
# and the model itself is left as it was. Few steps are the prior, as in
# {eq}`eq-dip`, and with a known noise level the discrepancy principle of
# chapter 3 says when the data are explained.

# %%
heads = portraits.sample(torch.arange(4), seed=2)[0]
gan = load_pretrained("gan_portraits64")
hole = central_hole((1, 64, 64), 24, GaussianNoise(0.02))
y = hole(heads, generator=generator_from(1))
before = {name: value.clone() for name, value in gan.state_dict().items()}
bent = deep_generative_prior(gan, hole, y, generator=generator_from(0))

# %% tags=["remove-cell"]
assert all(
    torch.equal(value, before[name])
    for name, value in gan.state_dict().items()
)
assert psnr(bent.x, heads).mean() > psnr(bent.x_latent_only, heads).mean()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A hole of 24 x 24 pixels. From top to bottom: truth, what is seen, the best image of the generator as it is, and of the generator that bends.", "name": "fig-dgp"}, "image": {"alt": "Four heads; the same with a black square for a face; four other heads of similar pose; and four heads that agree with what was seen and have a face."}}
show_images(
    torch.cat([heads, y, bent.x_latent_only, bent.x]),
    captions=decibels(heads, y, bent.x_latent_only, bent.x, truth=heads),
    columns=4,
)

# %%
compare(
    bent.x_latent_only[:1],
    bent.x[:1],
    ("latent only", "weights too"),
    truth=heads[:1],
    alt="A portrait that only resembles the data, and one that fits them.",
    caption="The same generator, rigid and bent. Move the handle.",
)

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "tv": "total variation, oracle",
        "dip": "deep image prior",
        "latent": "GAN, latent only",
        "dgp": "deep generative prior",
        "xz": "VAE, joint (chapter 7)",
    },
    {
        f"{task}_{world}": f"{words}, {world}"
        for world in ("plates", "portraits")
        for task, words in {"hole": "hole", "x4": "x4"}.items()
    },
    "bend_{row}_{column}",
    fmt=".2f",
)

# %% tags=["remove-cell"]
for world in ("plates", "portraits"):
    hole_db, fine_db = (
        {
            key: results[f"bend_{key}_{task}_{world}"].value
            for key in ("tv", "dip", "latent", "dgp", "xz")
        }
        for task in ("hole", "x4")
    )
    assert max(hole_db, key=hole_db.get) == "dgp"
    assert max(fine_db, key=fine_db.get) == "xz"
    assert fine_db["dgp"] > fine_db["latent"] + 1
    assert fine_db["dgp"] < fine_db["tv"] + 0.2  # "no better than"

# %% [markdown]
# (Eight images a column, noise 0.02.) In a hole the data are silent: there the
# bent generator is the best of all, since it alone knows such images *and* can
# agree with their surroundings. At x4 every pixel is seen through a blur, and
# bending mends most of what the rigid generator misses, but is no better than
# total variation with the oracle, and behind the VAE that may leave its
# range. A prior pays where data are missing.
#
# ### Colours from grey
#
# The portraits have a version in colour, and so has the GAN. A
# black-and-white photograph measures one number per pixel, the luminance,
# $y = 0.2125 R + 0.7154 G + 0.0721 B$; two of three are lost everywhere.

# %%
people = portraits.sample(torch.arange(6), seed=2, colour=True)[0]
grey = Luminance((3, 64, 64))
colour_gan = load_pretrained("gan_portraits64_colour")
y = grey.A(people)
coloured = deep_generative_prior(
    colour_gan, grey, y, generator=generator_from(0)
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Six portraits (top), their luminance (middle), and the colours that the bent GAN gives it (bottom): likely ones for such a head, not the true ones.", "name": "fig-colourised"}, "image": {"alt": "Six coloured puppet heads, the same in grey, and the same with other tints of skin, cloth and background."}}
show_images(torch.cat([people, y.expand_as(people), coloured.x]), columns=6)

# %% [markdown]
# Over eight portraits the colours have {glue:text}`colour_dgp:.1f` dB, left
# grey they have {glue:text}`colour_grey:.1f` dB, and with the latent alone
# {glue:text}`colour_latent:.1f` dB. That is little: the mean over all
# possible colours is a good estimate in decibels, and likely colours are a
# gamble. (This GAN has also seen fewer images than the others: a run of
# minutes, see {doc}`its card </book/models>`.)
#
# ## All of it from one photograph
#
# A photograph holds thousands of patches of every size. **SinGAN**
# {cite:p}`shaham2019singan` is a pyramid of small GANs, one for each scale of
# a single image. The discriminator of a scale looks at patches only, 11 x 11
# pixels, and asks whether they could come from this image; the generator adds
# to the enlarged result of the scale below what is missing,
#
# $$ x_n = \uparrow x_{n+1}
#    + \psi_n\bigl(a_n z_n + \uparrow x_{n+1}\bigr) . $$ (eq-singan)
#
# :::{exercise} What a critic sees
# :label: ex-field
#
# A stack of convolutions with kernels of `sizes[i]` pixels and strides
# `strides[i]`: how many pixels of the input, in one direction, does one
# number of the output depend on?
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def receptive_field(sizes, strides):
    ### BEGIN SOLUTION
    field, spacing = 1, 1
    for size, stride in zip(sizes, strides, strict=True):
        field += (size - 1) * spacing
        spacing *= stride
    return field
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_receptive_field(receptive_field)

# %%
print(receptive_field([3] * 5, [1] * 5), "pixels for five layers of 3 x 3")

# %%
large = load_photo("coins", 128)
half = bicubic_downsampling((1, 128, 128), 2)
small = half.A(large).clamp(0, 1)
model = fit_singan(small, generator=generator_from(0))
new = model.sample(5, generator=generator_from(3))
wide = model.sample(1, size=(64, 192), generator=generator_from(4))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The photograph that the pyramid was trained on (first), and five samples of it.", "name": "fig-singan"}, "image": {"alt": "Rows of old coins, and five other arrangements of coins, some of them merged."}}
show_images(torch.cat([small, new]), columns=6)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sample of three times the width: the networks are convolutions, and draw at any size.", "name": "fig-wide"}, "image": {"alt": "A wide tray of coins in rows, without a seam."}}
show_images(wide)

# %% [markdown]
# Trained on a small photograph, the finest generator has learned what an
# enlargement lacks. If details look alike across scales, it can add what the
# camera never saw:

# %%
enlarged = singan_enlarge(model, small, 2, passes=1)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Twice the size: cubic interpolation, SinGAN, truth.", "name": "fig-singan-sr"}, "image": {"alt": "Coins with soft rims, coins with crisp rims and invented faces, and the true coins."}}
show_images(
    {
        "bicubic": bicubic_upsampling(small, 2),
        "SinGAN": enlarged,
        "truth": large,
    },
    truth=large,
)

# %% [markdown]
# The twofold enlargement has {glue:text}`singan_enlarged_coins:.2f` dB, against
# {glue:text}`singan_bicubic_coins:.2f` dB of cubic interpolation: coins
# repeat themselves at every size, so the invented detail even pays in PSNR.
# On the photographer, whose parts occur once, the same pyramid has
# {glue:text}`singan_enlarged_camera:.2f` dB and cubic interpolation
# {glue:text}`singan_bicubic_camera:.2f` dB. Nothing in it knows $A$: shrunk
# again, the enlarged coins differ from their photograph
# ({glue:text}`singan_consistency_coins:.1f` dB).
#
# ### From a sketch
#
# The same pyramid redraws what does not come from it. Enter a sketch of flat
# shapes at a coarse scale, and all finer ones turn it into the only thing
# they know; enter a collage a little further up, and what was pasted takes on
# the look of its surroundings, which is called **harmonisation**.

# %%
sketch = torch.full_like(small, 0.15)
for row, column, height, width in (
    (6, 6, 10, 10),
    (6, 26, 10, 14),
    (8, 48, 8, 8),
    (26, 10, 12, 12),
    (28, 34, 6, 20),
    (46, 6, 10, 10),
    (44, 28, 14, 14),
    (48, 50, 9, 9),
):
    sketch[..., row : row + height, column : column + width] = 0.65

y_axis, x_axis = torch.meshgrid(
    torch.arange(64.0), torch.arange(64.0), indexing="ij"
)
distance = ((y_axis - 38) ** 2 + (x_axis - 28) ** 2).sqrt()
face = load_photo("astronaut", 64).roll((30, -3), (2, 3))
collage = torch.where(distance < 8, face, small)
around = ((14 - distance) / 4).clamp(0, 1)[None, None]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sketch, entered at the second and third of five scales, and a collage, harmonised from the third and fourth scale on.", "name": "fig-sketch"}, "image": {"alt": "Flat rectangles, which become coins of like size and place, rounder from the coarser scale; and a disc with a face among coins that takes on their grain."}}
show_images(
    {
        "sketch": sketch,
        "from scale 2": model.inject(sketch, 1),
        "from scale 3": model.inject(sketch, 2),
        "collage": collage,
        "harmonised from 3": harmonise(model, collage, 2, mask=around),
        "harmonised from 4": harmonise(model, collage, 3, mask=around),
    },
    columns=3,
)

# %% [markdown]
# ## The same in deepinv
#
# deepinv has a deep image prior of its own, with other networks; what can be
# compared number by number is the operator of the table.
#
# ```python
# import deepinv
#
# x = portraits.sample(torch.arange(1), seed=2, colour=True)[0]
# weights = (0.2125, 0.7154, 0.0721)
# theirs = deepinv.physics.Decolorize(srf=weights)
# ours = Luminance((3, 64, 64))
# gap = (theirs.A(x) - ours.A(x)).abs().max()
# ```
#
# ## Go further
#
# * `deep_image_prior` takes any operator: try it on the blur of chapter 3, or
#   on the tomograph of chapter 1, and choose `stop=DiscrepancyRule()`.
# * {cite:t}`ulyanov2018deep` and {cite:t}`pan2020exploiting` have pictures at
#   full size; {cite:t}`shaham2019singan` edit, animate and harmonise.
# * What if the architecture *is* the linear $B$ of the filter factors? Choose
#   $B$ as a wavelet synthesis, and watch which coefficients come first.
