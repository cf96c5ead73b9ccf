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
# # How likely is this image?
#
# **You will see** a denoiser turned into a probability, the number itself
# computed to five digits where it is known, images ranked by it, and a
# surprise: of an image and its blurred version, the blurred one is more
# probable.
#
# **You need** {doc}`chapter 3 <03_tychonov_wiener>` (Gaussian images) and
# {doc}`chapter 6 <06_autoencoders>` (nats, the worlds of images).

# %% tags=["hide-input"]
import math
from functools import partial

import torch

from course_lib.book import budget_card
from course_lib.checks import check_bits, check_trace, check_velocity
from course_lib.diffusion import (
    bits_per_dimension,
    estimate_potential,
    potential,
    rademacher,
    sample,
)
from course_lib.experiments.likelihood import (
    FAMILIES,
    THETAS,
    WORLDS,
    altered,
    blur_changes,
    blurred,
    held_out,
    model_potential,
    penalties,
)
from course_lib.models import EmpiricalMixture, load_pretrained, power_law
from course_lib.plotting import plot_curves, show_images
from course_lib.random import generator_from, normal_like
from course_lib.results import load_results

# %% tags=["remove-input"]
budget_card("13_likelihood")

# %% tags=["remove-cell"]
results = load_results("13_likelihood")
results.glue()
benchmark = load_results("benchmarks_potential")
benchmark.glue()

# %% [markdown]
# ## From a denoiser to a score
#
# Add noise to an image, $x = x_0 + \sigma w$. The best estimate of $x_0$ in
# mean square is the conditional mean, the **denoiser**
# $D(x, \sigma) = \mathbb E[x_0 \mid x]$. A network that is trained to remove
# noise of every level approximates it.

# %%
model = load_pretrained("diffusion_photos32")
x = held_out("photos", 8)
levels = (0.05, 0.2, 0.8)
noisy = torch.cat(
    [x[:4] + s * normal_like(x[:4], generator_from(1)) for s in levels]
)
with torch.no_grad():
    clean = torch.cat(
        [
            model(part, s)
            for part, s in zip(noisy.split(4), levels, strict=True)
        ]
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four crops of photographs; with noise of 0.2; and what the denoiser makes of it.", "name": "fig-denoised"}, "image": {"alt": "Four small photographs, the same under grain, and smooth versions of the first row."}}
show_images(torch.cat([x[:4], noisy[4:8], clean[4:8]]), columns=4)

# %% [markdown]
# Let $p_\sigma$ be the law of $x$: that of images, smoothed by a Gaussian of
# width $\sigma$. The denoiser knows its slope.
#
# :::{prf:theorem} Tweedie's formula {cite:p}`efron2011tweedie`
# :label: thm-tweedie
#
# $\nabla\log p_\sigma(x) = \big(D(x, \sigma) - x\big)/\sigma^2$.
# :::
#
# :::{prf:proof}
# $p_\sigma(x) = \int p_0(x_0)\, \varphi_\sigma(x - x_0)\, dx_0$ with
# $\nabla\varphi_\sigma(v) = -v\,\varphi_\sigma(v)/\sigma^2$. Differentiate
# under the integral and divide by $p_\sigma(x)$: what is left is the mean of
# $-(x - x_0)/\sigma^2$ given $x$.
# :::
#
# So training a denoiser is learning the **score** $\nabla\log p_\sigma$
# {cite:p}`vincent2011connection`; and the gradient of a potential
# $-\log p_\sigma$ at a small $\sigma$ costs one evaluation. Its *value* is
# what this chapter is about: a gradient says which way is up, not how high we
# are.
#
# ## Noise as a movement
#
# Let the noise level grow with time, $\sigma = t$:
#
# $$ dx = g(t)\, dw , \qquad g^2 = 2t , \qquad x_t = x_0 + t\, w . $$ (eq-forward)
#
# (Other published equations also shrink the image, $dx = f x\, dt + g\, dw$.
# They are this one in other units and another time:
# `course_lib.diffusion.schedules`.) It can be run backwards
# {cite:p}`anderson1982reverse`,
#
# $$ dx = - g^2\, \nabla\log p_t(x)\, dt + g\, d\bar w , \qquad dt < 0 , $$ (eq-reverse)
#
# where $\bar w$ is a Brownian motion in reverse time. And there is a way back
# without any chance in it.
#
# :::{prf:theorem} The probability flow {cite:p}`song2021score`
# :label: thm-flow
#
# If $x$ moves with the velocity
# $v = f x - \tfrac12 g^2\, \nabla\log p_t(x)$ from a random $x_0 \sim p_0$,
# then $x_t \sim p_t$ at every time.
# :::
#
# :::{prf:proof}
# The density of {eq}`eq-forward` obeys Fokker and Planck's equation
# $\partial_t p = -\nabla\cdot(f x\, p) + \tfrac12 g^2 \Delta p$. Write
# $\Delta p = \nabla\cdot(p\, \nabla\log p)$: the right side becomes
# $-\nabla\cdot(v\, p)$, which is what the velocity $v$ does to a density.
# :::
#
# The minus is not a matter of taste: see {doc}`erratum E1 <../book/errata>`.
#
# :::{exercise} The velocity
# :label: ex-velocity
#
# Write $v$ from $x$, the score, $f$ and $g$. The check moves a cloud of
# points with it.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def velocity(x, score, f, g):
    ### BEGIN SOLUTION
    return f * x - g**2 * score / 2
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_velocity(velocity)

# %% [markdown]
# With $f = 0$ and $g^2 = 2t$ it is $v = (x - D(x, t))/t$: away from what the
# denoiser sees. Followed from $t = 10$ down to $0$, it makes images of noise
# {cite:p}`karras2022elucidating`.

# %%
drawn = sample(
    model,
    (8, 1, 32, 32),
    generator=generator_from(3),
    n_steps=24,
    sigma_max=10.0,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Samples of the model of photographs, eight draws of noise after 24 steps of Heun's method.", "name": "fig-samples"}, "image": {"alt": "Eight small grey images that look like pieces of photographs: edges, leaves, sky."}}
show_images(drawn, columns=4)

# %% [markdown]
# ## The change of variables
#
# Along the flow the density is known. Where the velocities diverge, the
# cloud thins out:
#
# $$ \frac{d}{dt} \log p_t(x_t) = -\nabla\cdot v(x_t, t) . $$
#
# Hence the **potential** of an image,
#
# $$ -\log p_0(x_0) = -\log p_T(x_T) - \int_0^T \nabla\cdot v(x_t, t)\, dt , $$ (eq-potential)
#
# where $x_T$ is where the flow carries $x_0$, among noise, and $p_T$ is a
# Gaussian. Two things can go wrong: the integral and the divergence.
#
# ### The integral
#
# Take images that are Gaussian and stationary, with the spectrum
# $S \propto 1/(f_0^2 + \lvert f\rvert^2)$. Everything about them is known:
# $D = m + C(C + \sigma^2)^{-1}(x - m)$, and each Fourier mode of the flow is
# scaled by $\sqrt{(S + t^2)/(S + t_0^2)}$. A good test for a solver.
#
# Two observations make it fast. First, most of the movement is what a
# Gaussian would do. With $m$ and $v$ the mean and the variance of a pixel,
# and $D_{\text{ref}}$ the denoiser of $\mathcal N(m, vI)$, the whitened image
# $y = (x - m)/\sqrt{v + \sigma^2}$ obeys
#
# $$ \frac{dy}{d\log\sigma}
#    = - \frac{D(x, \sigma) - D_{\text{ref}}(x, \sigma)}{\sqrt{v + \sigma^2}} , $$ (eq-whitened)
#
# and {eq}`eq-potential` becomes the potential of a Gaussian, with a
# correction:
#
# $$ -\log p(x) = \tfrac12\lVert y_T\rVert^2
#    + \tfrac n2 \log\big(2\pi(v + \sigma_{\min}^2)\big)
#    + \int \operatorname{tr} \partial_x\big(D - D_{\text{ref}}\big)\,
#      d\log\sigma . $$ (eq-correction)
#
# Second, a mode of variance $S$ moves only while $\sigma$ passes
# $\sqrt S$: all modes in the same way, if time is $\log\sigma$. So equal
# steps in $\log\sigma$ are right, and long ones of high order
# {cite:p}`dormand1980family` are enough.

# %%
world = power_law((1, 16, 16))
image = world.sample(1, generator=generator_from(4), sigma=0.001)
exact = world.potential(image, 0.001)
for steps in (4, 6, 8, 10):
    found = estimate_potential(world, image, steps, "exact")
    print(
        f"{found.evaluations.item():.0f} evaluations: {found.nats.item():.3f},"
        f" exact {exact.item():.3f} nats"
    )

# %% [markdown]
# The published programs give {eq}`eq-potential` to a general solver, SciPy's
# RK45 with tolerance $10^{-5}$, in the time $t = \sigma$. On 32 x 32 pixels
# it needs {glue:text}`evaluations_edm_32:.0f` evaluations for a relative
# error of {glue:text}`error_edm_32:.1e`; the above does not need more than
# {glue:text}`evaluations_ours_edm_32:.0f`. Heun's method on the grid that
# samplers use is far off even after 160 evaluations
# ({glue:text}`error_heun_160_32:.1e`): what is good enough to draw an image
# is not good enough to weigh it.
#
# ### The divergence
#
# The trace of a matrix that one can only multiply with:
# {cite:t}`hutchinson1990stochastic` takes a random $e$ with
# $\mathbb E\, e e^\top = I$, for which
# $\mathbb E\, e^\top J e = \operatorname{tr} J$. One product $J^\top e$ is
# one backward pass {cite:p}`grathwohl2019ffjord`.
#
# :::{exercise} The trace
# :label: ex-trace
#
# `pull(e)` gives $J^\top e$. Return an estimate of $\operatorname{tr} J$ that
# is exact for every diagonal $J$.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def trace(pull, x, generator):
    ### BEGIN SOLUTION
    e = 2.0 * torch.randint(0, 2, x.shape, generator=generator).to(x) - 1
    return e @ pull(e)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_trace(trace)

# %% [markdown]
# :::{prf:proposition} The price of a probe
# :label: prop-hutchinson
#
# For symmetric $J$, random signs have
# $\operatorname{Var} e^\top J e =
# 2\big(\lVert J\rVert_F^2 - \sum_i J_{ii}^2\big)$, Gaussian probes
# $2\lVert J\rVert_F^2$.
# :::
#
# :::{prf:proof}
# $e^\top J e = \sum_i J_{ii} e_i^2 + 2\sum_{i<j} J_{ij} e_i e_j$. The products
# $e_i e_j$ are uncorrelated, with variance 1; the squares have variance 0 for
# signs and 2 for Gaussians. And
# $4 \sum_{i<j} J_{ij}^2 = 2\big(\lVert J\rVert_F^2 - \sum_i J_{ii}^2\big)$.
# :::
#
# The same $e$ is kept along the whole path. In the Gaussian world the
# integral of all $\partial_x v$ is a matrix that we know, and the spread of
# the potential over probes is that of the proposition (a test of the library
# asks for it). To *compare* images, give all of them the same probes: in the
# Gaussian world the error of the difference is then zero.

# %%
probes = rademacher((1, 16, 16), 64, generator=generator_from(5))
pair = world.sample(2, generator=generator_from(6), sigma=0.001)
found = estimate_potential(world, pair, 8, probes=probes)
one_by_one = found.by_probe[:, 0]
difference = found.by_probe[:, 0] - found.by_probe[:, 1]
print(f"spread over probes: {one_by_one.std():.1f} nats")
print(f"spread of the difference of two images: {difference.std():.1e} nats")

# %% [markdown]
# ### What the number means
#
# A potential is in nats, of a *density*: it depends on the unit of the image.
# Multiply all images by $c$, and $-\log p$ grows by $n \log c$. Potentials of
# images in $[0, 1]$ and in $[-1, 1]$ must not be compared, though both appear
# in print. Bits per dimension take the unit out, by the size of one grey
# level.
#
# :::{exercise} Bits
# :label: ex-bits
#
# Turn nats of a density on $[a, b]^n$ into bits per dimension of an 8-bit
# image, whose 256 grey levels divide $[a, b]$.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def bits(nats, n, low, high):
    ### BEGIN SOLUTION
    return nats / (n * math.log(2)) + math.log2(256 / (high - low))
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_bits(bits)

# %%
few = x[:4] + 0.01 * normal_like(x[:4], generator_from(7))
nats = potential(model, few, 8, 1, generator_from(8), sigma_min=0.01)
n = few[0].numel()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four photographs with their potential under the model of photographs, nats and bits per dimension.", "name": "fig-likely"}, "image": {"alt": "Four small photographs with numbers below; smooth ones have the lower potential."}}
show_images(
    few,
    captions=[
        f"{q / n:.2f} nats, {b:.2f} bits"
        for q, b in zip(nats, bits_per_dimension(nats, n), strict=True)
    ],
    columns=4,
)

# %% [markdown]
# A file of 8-bit images has no density at all: its values sit on a grid, and
# a model that finds the grid out can make the density there as large as it
# likes. Two remedies: spread each value over its grey level
# {cite:p}`theis2016note` (`dequantise`), or ask at a noise level that hides
# the grid. This chapter does the latter: $\sigma_{\min} = 0.01$, two and a
# half grey levels, and every image gets noise of this size, *the same noise*
# wherever images are compared.
#
# ## A ranking
#
# What does a model of photographs find likely?

# %%
variants = altered(x[:4])
q = {
    name: model_potential(model, images)(images).mean().item() / n
    for name, images in variants.items()
}
order = sorted(q, key=q.get)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One photograph and what was made of it, by mean potential over four photographs (nats per dimension), the most probable first.", "name": "fig-ranking"}, "image": {"alt": "Eight versions of a small photograph: flat grey first, then blurred and of low contrast; noise and shuffled pixels last."}}
show_images(
    torch.cat([variants[name][:1] for name in order]),
    titles=[name.replace("_", " ") for name in order],
    captions=[f"{q[name]:.2f}" for name in order],
    columns=4,
)

# %% [markdown]
# The most probable image is the one with nothing on it. That is no defect of
# the network. A density compares *points*: there are few flat images, each
# of them very probable, and many textured ones, each improbable. Almost all
# samples are textured, as almost all draws of a Gaussian in high dimension
# lie far from its mode.
#
# ## Blur is likelier
#
# Blur an image with a kernel $h_\theta$ of growing width, $h_0$ the identity,
# from four families.

# %%
shown = torch.cat([blurred(x[1:2], f, 2.0) for f in FAMILIES])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A photograph blurred by the four families at 2 pixels.", "name": "fig-families"}, "image": {"alt": "Four blurred versions of a small photograph: soft, streaked, with faint rings, and out of focus."}}
show_images(shown, list(FAMILIES), columns=4)

# %%
q = model_potential(model, x[:4])
live = {f: blur_changes(q, x[:4], f, THETAS).mean(1) for f in FAMILIES}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Change of the potential per dimension under blur, mean of four photographs, computed now.", "name": "fig-blur-live"}, "image": {"alt": "Four falling curves over the width of the kernel."}}
plot_curves(
    THETAS, live, "width θ of the kernel (pixels)", "change (nats / dimension)"
)

# %% [markdown]
# And over 100 held-out images for each of three models:


# %% tags=["hide-input"]
def stored_curves(world):
    """Mean and spread for each family, from the stored results."""
    mean = {
        f: [0.0]
        + [results.value(f"change_{world}_{f}_{t:g}") for t in THETAS[1:]]
        for f in FAMILIES
    }
    spread = {
        f: [0.0]
        + [results.value(f"spread_{world}_{f}_{t:g}") for t in THETAS[1:]]
        for f in FAMILIES
    }
    return plot_curves(
        THETAS,
        mean,
        "width θ of the kernel (pixels)",
        "change (nats / dimension)",
        bands=spread,
    )


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Photographs: mean change of the potential over 100 images, with one standard deviation.", "name": "fig-blur-photos"}, "image": {"alt": "Four curves with bands that fall as the blur grows."}}
stored_curves("photos")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates.", "name": "fig-blur-plates"}, "image": {"alt": "Four curves with bands that fall as the blur grows."}}
stored_curves("plates")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Portraits.", "name": "fig-blur-portraits"}, "image": {"alt": "Four curves with bands that fall as the blur grows."}}
stored_curves("portraits")

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {world: world for world in WORLDS},
    {family: family for family in FAMILIES},
    "falls_{row}_{column}",
)

# %% [markdown]
# The table: the share of images whose potential never rises from one width to
# the next. (With 100 images out of 100, the 95% interval begins at 0.964.)
#
# ### What is proved
#
# :::{prf:theorem} Blur and convexity
# :label: thm-jensen
#
# Let $q$ be convex and invariant under periodic translations. Then
# $q(h * x) \le q(x)$ for every kernel $h \ge 0$ of sum 1. If
# $h_{\theta'} = g * h_\theta$ with such a $g$ for all $\theta < \theta'$, then
# $\theta \mapsto q(h_\theta * x)$ never rises.
# :::
#
# :::{prf:proof}
# $h * x = \sum_s h(s)\, T_s x$ is a mean of translates. By Jensen's
# inequality $q(h * x) \le \sum_s h(s)\, q(T_s x) = q(x)$. For the second part
# apply the first one to $h_\theta * x$ and $g$.
# :::
#
# Total variation, sparsity in wavelets (averaged over translations), the
# stationary Gaussian: every convex regulariser of the first chapters prefers
# blur, and says so by theorem.

# %%
by_formula = {
    name: blur_changes(penalty, x[:4], "gaussian", THETAS)
    for name, penalty in penalties(x).items()
}
assert all((change.diff(dim=0) <= 0).all() for change in by_formula.values())

# %% [markdown]
# The potential of a diffusion model is not convex. What its curves show is
# *measured*, and it can fail. Take the extreme model, one that knows its
# training images by heart: $p_\sigma$ is a mixture of Gaussians of width
# $\sigma$ at the images, and its potential is a log-sum-exp.

# %%
mixture = EmpiricalMixture(held_out("photos", 40).double())
for sigma in (0.02, 0.1, 0.5, 1.0):
    change = blur_changes(
        partial(mixture.potential, sigma=sigma),
        mixture.centres,
        "gaussian",
        (0.0, 1.5),
    )[-1]
    print(
        f"sigma = {sigma}: change {change.mean():+.4f} nats per dimension, "
        f"rises for {(change > 0).double().mean():.0%} of the images"
    )

# %% [markdown]
# At its own images this model finds blur *less* likely, and at small noise
# levels by far. So "blur is likelier" is a statement about models that
# generalise, at images they have not memorised, at a given noise level; not
# about diffusion models as such. Two more conditions matter. Without the
# common noise, a clean image is compared with laws in which every image has
# noise; and without care for the grid, a blurred image, whose values lie off
# the grid, is compared with one whose values lie on it. The results file has
# the curves for these cases too.
#
# ## Why this dooms the most probable answer
#
# In blind deconvolution image and kernel are both unknown, $y = h * x + b$,
# and the most probable pair minimises
#
# $$ L(x, h) = \tfrac12\lVert h * x - y\rVert^2 + \sigma^2 q(x) . $$ (eq-blind)
#
# :::{prf:proposition}
# :label: prop-trap
#
# If $q(h * x) \le q(x)$ for all kernels that are allowed, the identity $\delta$
# among them, and if {eq}`eq-blind` has minimisers, then one of them has
# $h = \delta$: nothing is deblurred.
# :::
#
# :::{prf:proof}
# For any pair, $L(h * x, \delta) = \tfrac12\lVert h * x - y\rVert^2 +
# \sigma^2 q(h * x) \le L(x, h)$.
# :::
#
# For every convex invariant prior the hypothesis is the theorem above. For
# diffusion models it is what we measured. The last chapter looks for a way
# out.
#
# ## Go further
#
# * `course potential --checkpoint FILE photo.png` weighs a photograph of your
#   own with a published model: an EDM file, which you fetch yourself, is read
#   without running the code that it carries.
# * `course train diffusion_plates32` trains a model again.
# * Is a photograph likelier than its negative, or than itself upside down? Look
#   at the table of the ranking, and at histograms.
