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
# **You will see** a network without any training repair a photograph, because
# descent on its weights follows images faster than noise, a rule for when to
# stop that does not look at the truth, a trained generator whose weights are
# adapted to the image at hand, and a pyramid of networks trained on a single
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
# There are more weights than pixels, and the network can be fitted to noise
# too. But it does not fit everything equally *soon*. Here are four targets: a
# photograph, the same with noise, the same with its pixels shuffled, and white
# noise.

# %%
photo = load_photo("camera", 64)
race = impedance(photo, n_steps=160, generator=generator_from(0))
variance = race.targets.flatten(2).var(2)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The four targets of the race.", "name": "fig-targets"}, "image": {"alt": "The photographer, the photographer with grain, a field of shuffled grey pixels, and white noise."}}
show_images(race.targets[:, 0], TARGETS, columns=4)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean square error of an untrained network on each target, in parts of the variance of the target. In the first thirty steps the error on the image falls far below the others: the architecture is the prior.", "name": "fig-impedance"}, "image": {"alt": "Four falling curves. After thirty steps the image is at 0.04, the image with noise at 0.13, shuffled pixels and white noise at 0.5. After 160 steps the image is still lowest, shuffled pixels and white noise are below the image with noise."}}
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
# After 30 steps, over 50 photographs (crops of 64 x 64 from the test
# photographs of BSDS500, as in all tables of this chapter on photographs),
# {glue:text}`impedance_image:.1f` ± {glue:text}`impedance_image_half:.1f` dB
# of the image's variance are left, {glue:text}`impedance_noisy:.1f` ±
# {glue:text}`impedance_noisy_half:.1f` dB with noise,
# {glue:text}`impedance_shuffled:.1f` ± {glue:text}`impedance_shuffled_half:.1f`
# dB of shuffled pixels and {glue:text}`impedance_noise:.1f` ±
# {glue:text}`impedance_noise_half:.1f` dB of white noise (means and $95\,\%$
# intervals). This network has nine weights for every pixel of so small an
# image, and {numref}`fig-impedance` shows that within a hundred steps it fits
# even shuffled pixels, sooner than the noise that was added to the image.
#
# ### Where it can be computed
#
# If the network were linear, $f_\theta(z) = B\theta$, gradient descent from
# $\theta = 0$ with steps $\tau$ would be Landweber's iteration of chapter 2.
# In the singular value decomposition of $AB$ it multiplies the component of
# the data along a singular value $s$ by a **filter factor** that grows with
# the number $t$ of steps.
#
# :::{exercise} Filter factors
# :label: ex-filter
#
# Descent on $\frac12\lVert M\theta - y\rVert^2$ from $\theta = 0$: after $t$
# steps, $M\theta_t = \sum_i \varphi_t(s_i)\, u_i u_i^\top y$. Write
# $\varphi_t(s)$ as a function of $s$, the step size `tau` and the number `k`
# of steps.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Filter factors of early stopping, for a step of 1. Directions of a large singular value are fitted within a few steps, those of a small one after hundreds. Early stopping helps where the latter hold more noise than image.", "name": "fig-filter"}, "image": {"alt": "Four rising curves from 0 to 1 on a logarithmic axis of steps, each later than the one before."}}
plot_curves(
    k,
    {
        label: filter_factor(torch.tensor(s), 1.0, k)
        for label, s in singular_values.items()
    },
    "step t",
    "filter factor",
    log="x",
)

# %% [markdown]
# For a linear network early stopping is a regularisation, and $AB$ decides
# which directions come first. For convolutions at several scales
# {numref}`fig-impedance` shows the result: images come first. (This is no
# proof for a network that is not linear. The descent lemma
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
# The loss does not show where the top is. The *iterates* do, as
# {cite:t}`wang2023early` observe: they change fast on the way to the image,
# slowly near it, and fast again once they follow the noise. Their rule takes
# the variance of the iterates over a window of recent steps and stops where it
# is least. It needs neither the truth nor the noise level.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "PSNR along the steps, with the stop of the variance rule and the one that an oracle would choose.", "name": "fig-hump"}, "image": {"alt": "A curve that rises steeply, flattens to a broad top near 470 steps and falls slowly afterwards; the oracle's mark is on the top, the rule's mark before it at 350 steps."}}
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The noisy photograph, the image at the stop of the rule, and the one after all steps, in which part of the noise is back.", "name": "fig-stopped"}, "image": {"alt": "A grainy photographer, a clean and slightly soft one, and one with part of the grain."}}
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
    {"psnr": "PSNR (dB)", "gain": "minus total variation", "lpips": "LPIPS"},
    "denoise_{column}_{row}",
    fmt={"psnr": ".2f", "gain": "+.2f", "lpips": ".3f"},
    missing="–",
    half="denoise_{column}_half_{row}",
)

# %% tags=["remove-cell"]
value = {name: result.value for name, result in results.items()}
assert value["denoise_lost"] - value["denoise_lost_half"] > 0
assert value["denoise_gain_last"] + value["denoise_gain_half_last"] < 0
best = value["denoise_gain_oracle"] - value["denoise_gain_half_oracle"]
assert best > 0  # "the oracle's stop is above total variation"

# %% [markdown]
# These are means over 50 crops, noise $25/255$, with $95\,\%$ intervals of the
# differences on the same crop. Total variation has the weight that is best for
# each image. The oracle's stop is above it. The rule loses
# {glue:text}`denoise_lost:.1f` ± {glue:text}`denoise_lost_half:.1f` dB to the
# oracle, which leaves {glue:text}`denoise_gain_rule:.2f` ±
# {glue:text}`denoise_gain_half_rule:.2f` dB over total variation. Without a
# stop, after $1000$ steps, the deep image prior is below total variation by
# {glue:text}`denoise_gain_last:.1f` ± {glue:text}`denoise_gain_half_last:.1f`
# dB. The rule stops at step {glue:text}`denoise_step_rule:.0f` on average, the
# oracle at {glue:text}`denoise_step_oracle:.0f`.
#
# ## Super-resolution, as published and here
#
# {cite:t}`ulyanov2018deep` compare priors on super-resolution of five
# photographs, with these averages (PSNR in dB, luminance, borders cut;
# averages recomputed, {doc}`E20 </book/errata>`):
#
# | | no prior | bicubic | total variation | deep image prior | trained |
# |---|---:|---:|---:|---:|---:|
# | x4 | 26.56 | 28.44 | 28.86 | 29.90 | 31.59 to 32.10 |
# | x8 | 23.45 | 24.37 | 24.88 | 25.89 | 26.10 |
#
# Here are 50 crops of 64 x 64 from test photographs of BSDS500 at x4, grey,
# without noise. "Minus TV" is the difference from total variation on the same
# crop, with $95\,\%$ intervals:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "least_norm": "no prior (least norm)",
        "bicubic": "bicubic",
        "tv": "total variation, oracle",
        "dip": "deep image prior, variance rule",
        "dip_oracle": "deep image prior, oracle",
    },
    {"psnr": "PSNR (dB)", "gain": "minus TV", "lpips": "LPIPS"},
    "x4_{column}_{row}",
    fmt={"psnr": ".2f", "gain": "+.2f", "lpips": ".3f"},
    missing="–",
    half="x4_{column}_half_{row}",
)

# %% tags=["remove-cell"]
for key in ("least_norm", "bicubic"):
    gain = value[f"x4_gain_{key}"]
    assert gain + value[f"x4_gain_half_{key}"] < 0  # TV is above
assert value["x4_above"] - value["x4_above_half"] > 0
gain, half = value["x4_gain_dip"], value["x4_gain_half_dip"]
assert gain - half < 0 < gain + half  # "contains zero"
gap = value["x4_psnr_dip_oracle"] - value["x4_psnr_dip"]
assert 0 <= gap < 0.1  # "less than a tenth of a decibel"

# %% [markdown]
# Total variation is above cubic interpolation, as in the published table.
# Whether the deep image prior is above total variation our
# data do not decide: the difference is {glue:text}`x4_gain_dip:.2f` ±
# {glue:text}`x4_gain_half_dip:.2f` dB, an interval that contains zero (here the
# weight of total variation is the best for each image), and the difference in
# LPIPS is {glue:text}`x4_lpips_gain_dip:.3f` ±
# {glue:text}`x4_lpips_gain_half_dip:.3f`. In one place the order is another:
# the published "no prior" is below cubic interpolation, while our least-norm
# image $A^+y$ is {glue:text}`x4_above:.2f` ± {glue:text}`x4_above_half:.2f` dB
# above it. $A^+$ undoes the prefilter
# of the camera on the frequencies that were kept. Without noise in the data
# there is hardly a hump: the oracle is less than a tenth of a decibel above
# the variance rule.
#
# ## A generator that bends
#
# Between random weights and weights that stay fixed lies the **deep
# generative prior** {cite:p}`pan2020exploiting`: start from a trained
# generator, find the best latent, then let the weights move too, first in the
# coarse layers and then in the fine ones,
#
# $$ \min_{z, \theta}\; \tfrac{\lambda}{m}\lVert A G_\theta(z) - y\rVert^2
#    + \kappa \sum_i \bigl\langle
#      |C_i(\uparrow\! AG_\theta(z)) - C_i(\uparrow\! y)| \bigr\rangle
#    + \tfrac \mu2 \langle z^2\rangle , $$ (eq-dgp)
#
# where $C_i$ are features of the *discriminator*, which was trained to tell
# such images from drawn ones, $\langle\cdot\rangle$ is a mean, and $\uparrow$
# brings measurements to the size of an image. Every image gets weights of its
# own, and the stored model stays as it was. The small number of steps acts as
# a prior, as in {eq}`eq-dip`, and with a known noise level the discrepancy
# principle of {doc}`chapter 3 <03_tychonov_wiener>` ends the descent.

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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A hole of 24 x 24 pixels. From top to bottom: truth, what is seen, the best image of the generator as it is, and of the generator that bends.", "name": "fig-dgp"}, "image": {"alt": "Four heads; the same with noise and a black square over eyes and nose; four heads of similar pose and light with blurred eyes; and four heads that agree better with what was seen, whose eyes and noses are smeared."}}
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
methods = {
    "tv": "total variation, oracle",
    "dip": "deep image prior",
    "latent": "GAN, latent only",
    "dgp": "deep generative prior",
    "xz": "VAE, joint (chapter 7)",
}
columns = {
    "psnr": "PSNR (dB)",
    "gain": "minus bent GAN",
    "inside": "PSNR in the hole (dB)",
    "inside_gain": "minus bent GAN",
    "lpips": "LPIPS",
}
formats = {
    key: {"lpips": ".3f"}.get(key, "+.2f" if "gain" in key else ".2f")
    for key in columns
}
results.table(
    methods,
    columns,
    "bend_hole_plates_{column}_{row}",
    fmt=formats,
    missing="–",
    half="bend_hole_plates_{column}_half_{row}",
)

# %% [markdown]
# These were the holes of 50 plates. The same for 50 portraits:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    methods,
    columns,
    "bend_hole_portraits_{column}_{row}",
    fmt=formats,
    missing="–",
    half="bend_hole_portraits_{column}_half_{row}",
)

# %% [markdown]
# And 12 images of each world at x4:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    methods,
    {
        f"{world}_{key}": f"{world}, {words}"
        for world in ("plates", "portraits")
        for key, words in columns.items()
        if "inside" not in key
    },
    "bend_x4_{column}_{row}",
    fmt={
        f"{world}_{key}": fmt
        for world in ("plates", "portraits")
        for key, fmt in formats.items()
    },
    missing="–",
    half="bend_x4_{column}_half_{row}",
)

# %% tags=["remove-cell"]


def interval(task, world, kind, method):
    """The interval of a stored difference from the bent generator."""
    middle = value[f"bend_{task}_{world}_{kind}_{method}"]
    half = value[f"bend_{task}_{world}_{kind}_half_{method}"]
    return middle - half, middle + half


others = ("tv", "dip", "latent", "xz")
for method in others:  # the best by LPIPS in a hole, on plates by PSNR too
    assert interval("hole", "plates", "gain", method)[1] < 0
    assert interval("hole", "plates", "inside_gain", method)[1] < 0
    for world in ("plates", "portraits"):
        assert interval("hole", world, "lpips_gain", method)[0] > 0
for kind in ("gain", "inside_gain"):
    low, high = interval("hole", "portraits", kind, "tv")
    assert low < 0 < high  # "contains zero"
for world in ("plates", "portraits"):
    assert interval("x4", world, "gain", "latent")[1] < 0
    low, high = interval("x4", world, "gain", "dip")
    assert low < 0 < high
assert interval("x4", "portraits", "gain", "xz")[0] > 0
low, high = interval("x4", "plates", "gain", "xz")
assert low < 0 < high

# %% [markdown]
# Differences are from the bent generator on the same image, with $95\,\%$
# intervals, noise $0.02$. In the holes of plates the bent generator is the best
# by every measure: inside the hole the next one, the rigid GAN, is at
# {glue:text}`bend_hole_plates_inside_gain_latent:.1f` ±
# {glue:text}`bend_hole_plates_inside_gain_half_latent:.1f` dB. In the holes of
# portraits it is the best by LPIPS only. In PSNR its difference from total
# variation, which draws a smooth patch, contains zero in its interval, over the
# whole image and inside the hole. At x4, where every pixel is seen through a
# blur, bending mends most of what the rigid generator misses, but the interval
# of its difference from the deep image prior, which had no training, contains
# zero in both worlds, and for portraits the VAE that may leave its range is
# {glue:text}`bend_x4_portraits_gain_xz:.1f` ±
# {glue:text}`bend_x4_portraits_gain_half_xz:.1f` dB above it.
#
# ### Colours from grey
#
# The portraits have a version in colour, and so has the GAN. A
# black-and-white photograph measures one number per pixel, the luminance
# $0.2125 R + 0.7154 G + 0.0721 B$. Two of three numbers are lost in every
# pixel.

# %%
people = portraits.sample(torch.arange(6), seed=2, colour=True)[0]
grey = Luminance((3, 64, 64))
colour_gan = load_pretrained("gan_portraits64_colour")
y = grey.A(people)
coloured = deep_generative_prior(
    colour_gan, grey, y, generator=generator_from(0)
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Six portraits (top), their luminance (middle), and the colours that the bent GAN gives it (bottom). Backgrounds and clothes have other colours than the true ones, and some faces have several tints.", "name": "fig-colourised"}, "image": {"alt": "Six coloured puppet heads, the same in grey, and the same with pale violet, pink and green backgrounds in place of the true green, blue and yellow ones, and patches of wrong tint on the faces."}}
show_images(torch.cat([people, y.expand_as(people), coloured.x]), columns=6)

# %% [markdown]
# Over 12 portraits the colours have {glue:text}`colour_psnr_dgp:.1f` dB,
# {glue:text}`colour_gain_dgp:.1f` ± {glue:text}`colour_gain_half_dgp:.1f` dB
# more than the grey image itself. With the latent alone the GAN is
# {glue:text}`colour_gain_latent:.1f` ± {glue:text}`colour_gain_half_latent:.1f`
# dB from grey, below it. A rule without any network does better: adding to the
# luminance, pixel by pixel, the mean difference between colour and luminance of
# 48 other portraits gives {glue:text}`colour_gain_average:.1f` ±
# {glue:text}`colour_gain_half_average:.1f` dB over grey. LPIPS has the same
# order: {glue:text}`colour_lpips_average:.3f` for the mean colours,
# {glue:text}`colour_lpips_dgp:.3f` for the bent GAN,
# {glue:text}`colour_lpips_grey:.3f` for grey. So this GAN is a weak prior for
# colours. (It has also seen fewer images than the others, see
# {doc}`its card </book/models>`.)

# %% tags=["remove-cell"]
low = value["colour_gain_average"] - value["colour_gain_half_average"]
high = value["colour_gain_dgp"] + value["colour_gain_half_dgp"]
assert high < low  # "does better"
assert value["colour_gain_dgp"] > value["colour_gain_half_dgp"]  # above grey
gain, half = value["colour_gain_latent"], value["colour_gain_half_latent"]
assert gain + half < 0  # "below it"

# %% [markdown]
# ## Trained on one photograph
#
# A photograph holds thousands of patches. **SinGAN**
# {cite:p}`shaham2019singan` is a pyramid of small GANs, one for each scale of
# a single image. The discriminator of a scale looks at patches only, 11 x 11
# pixels, and judges whether they could come from this image; the generator
# adds to the enlarged result of the coarser scale what is missing,
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The photograph that the pyramid was trained on (first), and five samples of it.", "name": "fig-singan"}, "image": {"alt": "Rows of old coins, and five other arrangements of coins in rows, some of them merged or stretched."}}
show_images(torch.cat([small, new]), columns=6)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sample of three times the width: the networks are convolutions, and draw at any size.", "name": "fig-wide"}, "image": {"alt": "A wide tray of coins in four uneven rows, some of them merged."}}
show_images(wide)

# %% [markdown]
# The finest generator adds to an enlargement of a coarser scale what it lacks.
# Applied once more, to an enlargement of the photograph itself, it adds detail
# that was never measured:

# %%
enlarged = singan_enlarge(model, small, 2, passes=1)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Twice the size: cubic interpolation, the pseudo-inverse (least norm) of the reduction, SinGAN, truth.", "name": "fig-singan-sr"}, "image": {"alt": "Coins with soft rims; coins with sharper rims and fine ripples around them; coins with sharper rims and altered faces; and the true coins."}}
show_images(
    {
        "bicubic": bicubic_upsampling(small, 2),
        "least norm": half.A_dagger(small),
        "SinGAN": enlarged,
        "truth": large,
    },
    truth=large,
)

# %% [markdown]
# In numbers, for this photograph and for another:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "bicubic": "bicubic",
        "least_norm": "no prior (least norm)",
        "enlarged": "SinGAN",
    },
    {
        f"{photo}_{key}": f"{photo}, {words}"
        for photo in ("coins", "camera")
        for key, words in {"psnr": "PSNR (dB)", "lpips": "LPIPS"}.items()
    },
    "singan_{column}_{row}",
    fmt={
        f"{photo}_{key}": fmt
        for photo in ("coins", "camera")
        for key, fmt in {"psnr": ".2f", "lpips": ".3f"}.items()
    },
)

# %% tags=["remove-cell"]
for photo in ("coins", "camera"):
    db = {
        key: value[f"singan_{photo}_psnr_{key}"]
        for key in ("bicubic", "least_norm", "enlarged")
    }
    assert db["least_norm"] == max(db.values())
assert value["singan_coins_psnr_enlarged"] > value["singan_coins_psnr_bicubic"]
assert (
    value["singan_camera_psnr_enlarged"] < value["singan_camera_psnr_bicubic"]
)

# %% [markdown]
# On the coins SinGAN is above cubic interpolation in PSNR, on the photographer
# below it, and on both below the pseudo-inverse, which adds nothing that was
# not measured. Hence the gain on the coins is no evidence that the added detail
# is right. (Two photographs; nothing more general is claimed.) The pyramid does
# not know $A$: shrunk again, its enlargements differ from the photographs
# ({glue:text}`singan_coins_consistency:.1f` and
# {glue:text}`singan_camera_consistency:.1f` dB).
#
# ### From a sketch
#
# The same pyramid redraws what does not come from it. A sketch of flat shapes
# entered at a coarse scale is turned into coins by the finer ones. A collage
# entered a little further up loses its hard edges, which is called
# **harmonisation**.

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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sketch, entered at the second and third of five scales, and a collage, harmonised from the third and fourth scale on.", "name": "fig-sketch"}, "image": {"alt": "Flat rectangles; entered at the second scale they become round or double coins in the same places, at the third rounded blocks; and a disc with a piece of a face among coins, whose hard edge is gone after harmonisation."}}
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
