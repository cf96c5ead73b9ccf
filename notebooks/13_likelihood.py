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
# **You will see** a denoiser turned into a probability, that number computed to
# five digits where it is known, images ranked by it with a flat grey one on top,
# and the test of a surprising claim: that an image is less probable than its
# blurred version. For photographs it is so, for portraits not always, and the
# difference decides whether a blurred photograph can be sharpened blindly.
#
# **You need** {doc}`chapter 3 <03_tychonov_wiener>` (Gaussian images) and
# {doc}`chapter 6 <06_autoencoders>` (nats, the worlds of images).

# %% tags=["hide-input"]
import math
from functools import partial

import torch

from course_lib.book import budget_card
from course_lib.diffusion import (
    EDM,
    CommonNoisePotential,
    Hutchinson,
    bits_per_dimension,
    estimate_potential,
    noise_levels,
    potential,
    potential_gradient,
    rademacher,
    reverse_sde,
    sample,
)
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.exercises import check_bits, check_trace, check_velocity
from course_lib.experiments.likelihood import (
    FAMILIES,
    THETAS,
    WORLDS,
    altered,
    held_out,
)
from course_lib.fourier import half_spectrum_weights
from course_lib.functionals import InvariantSparsity, SmoothedTV
from course_lib.models import load_pretrained
from course_lib.operators import MirroredBlur, gaussian_kernel, mirror
from course_lib.plotting import compare, plot_curves, show_images
from course_lib.results import load_results
from course_lib.rng import generator_from, normal_like

# %% tags=["remove-input"]
budget_card("13_likelihood")

# %% tags=["remove-cell"]
results = load_results("13_likelihood")
results.glue()
benchmark = load_results("benchmarks_potential")

# %% [markdown]
# ## From a denoiser to a score
#
# Add noise to an image, $x = x_0 + \sigma w$. The best estimate of $x_0$ in
# mean square is the conditional mean, the **denoiser**
# $D(x, \sigma) = \mathbb E[x_0 \mid x]$. A network that is trained to remove
# noise of every level approximates it. Three small ones, for photographs,
# plates and portraits of 32 x 32 pixels:

# %%
models = {world: load_pretrained(f"diffusion_{world}32") for world in WORLDS}
for denoiser in models.values():
    denoiser.to(memory_format=torch.channels_last)  # a third faster on a CPU
model, x = models["portraits"], held_out("portraits", 4)
levels = (0.05, 0.2, 0.8)
noise = normal_like(x, generator_from(1))
noisy = [x + sigma * noise for sigma in levels]
with torch.no_grad():
    clean = [model(x + sigma * noise, sigma) for sigma in levels]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four held-out portraits with noise of 0.05, 0.2 and 0.8 (left), and what the denoiser makes of them (right): the more noise, the more it has to say itself.", "name": "fig-denoised"}, "image": {"alt": "Three rows of eight small portraits: grainy ones and clean ones; in the last row the faces cannot be made out in the noise, and the denoised ones are soft and alike."}}
pairs = zip(noisy, clean, strict=True)
rows = [torch.cat(pair) for pair in pairs]
show_images(torch.cat(rows), columns=8)

# %% [markdown]
# Let $p_\sigma$ be the distribution of $x$: that of images, smoothed by a Gaussian of
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
# {cite:p}`vincent2011connection`; and the gradient of a **potential**
# $q = -\log p_\sigma$ costs one evaluation. Its *value* is what this chapter
# is about: a gradient says which way is up, not how high we are.

# %%
with torch.no_grad():
    slope = potential_gradient(model, noisy[0], 0.05)
print(f"norm of the gradient of q: {slope[0].norm():.0f}")
print(f"norm of noise / sigma^2:   {32 / 0.05:.0f}")

# %% [markdown]
# ## Noise as a movement
#
# Let the noise level grow with time, $\sigma = t$:
#
# $$ dx = g(t)\, dw , \qquad g^2 = 2t , \qquad x_t = x_0 + t\, w . $$ (eq-forward)
#
# (Other published equations also shrink the image, $dx = f x\, dt + g\, dw$.
# They are this one in other units and another time:
# `course_lib.diffusion.schedules` has four of them and the conversions.) It can
# be run backwards {cite:p}`anderson1982reverse`,
#
# $$ dx = - g^2\, \nabla\log p_t(x)\, dt + g\, d\bar w , \qquad dt < 0 , $$ (eq-reverse)
#
# where $\bar w$ is a Brownian motion in reverse time ({doc}`erratum E3
# <../book/errata>`). And there is a way back without any chance in it.
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
# The density of $dx = f x\, dt + g\, dw$ obeys Fokker and Planck's equation
# $\partial_t p = -\nabla\cdot(f x\, p) + \tfrac12 g^2 \Delta p$. Write
# $\Delta p = \nabla\cdot(p\, \nabla\log p)$: the right side becomes
# $-\nabla\cdot(v\, p)$, which is what the velocity $v$ does to a density.
# :::
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
# The minus is not a matter of taste. The source of this chapter prints a plus
# ({doc}`erratum E1 <../book/errata>`); take one number $x_0 \sim \mathcal N(0, 1)$,
# whose score at time $t$ is $-x/(1 + t^2)$, and follow a cloud of 2000 with
# either sign:

# %%
times = torch.linspace(0, 3, 301)
cloud = torch.randn(2000, generator=generator_from(2))
spread = {}
for name, sign in (("minus", -1), ("plus, as printed", 1)):
    points, spread[name] = cloud.clone(), []
    for t in times:
        spread[name].append(points.std().item())
        points = points + 0.01 * sign * t * (-points / (1 + t**2))
spread["exact, of x + noise"] = (1 + times**2).sqrt()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Standard deviation of a cloud that moves by the flow, with the right sign and with the printed one.", "name": "fig-sign"}, "image": {"alt": "One curve rises and covers the dashed curve exactly; the other falls from 1 to 0.3."}}
plot_curves(
    times,
    spread,
    "time = noise level",
    "standard deviation",
    dashed=("exact, of x + noise",),
)

# %% [markdown]
# With the plus noise does not grow, it is squeezed out. For a 16 x 16 image of the Gaussian
# world below the potential comes out as {glue:text}`sign_wrong:.0f` nats
# instead of {glue:text}`sign_right:.1f` (exact:
# {glue:text}`sign_exact:.1f`).
#
# With $f = 0$ and $g^2 = 2t$ the velocity is $v = (x - D(x, t))/t$: away from
# what the denoiser sees. Followed from $t = 10$ down to $0$, it makes images of
# noise {cite:p}`karras2022elucidating`; {eq}`eq-reverse` does so too, with
# another image each time.

# %%
by_flow = {
    world: sample(
        denoiser,
        (8, 1, 32, 32),
        noise_levels(24, 10.0),
        generator=generator_from(3),
        mean=denoiser.data_mean,
    )
    for world, denoiser in models.items()
}
start = normal_like(torch.empty(8, 1, 32, 32), generator_from(3))[:1]
with torch.no_grad():
    by_chance = reverse_sde(
        model,
        model.data_mean + 10 * start.expand(7, -1, -1, -1),
        EDM(0.001, 10.0),
        noise_levels(100, 10.0),
        generator=generator_from(4),
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Eight images by the probability flow from each model (a row a model), and at the bottom once more the first portrait, with seven that the reverse equation makes of the same noise.", "name": "fig-samples"}, "image": {"alt": "Rows of small grey images: textures and edges as in crops of photographs; raised characters, not all of which exist; rendered heads; and eight different heads."}}
again = by_flow["portraits"][:1]
show_images(torch.cat([*by_flow.values(), again, by_chance]), columns=8)

# %% [markdown]
# ## The change of variables
#
# Along the flow the density is known. Where the velocities diverge, the
# cloud thins out:
#
# $$ \frac{d}{dt} \log p_t(x_t) = -\nabla\cdot v(x_t, t) . $$
#
# Hence the potential of an image,
#
# $$ -\log p_0(x_0) = -\log p_T(x_T) - \int_0^T \nabla\cdot v(x_t, t)\, dt , $$ (eq-potential)
#
# where $x_T$ is where the flow carries $x_0$, among noise, and $p_T$ is a
# Gaussian: $\mathcal N(m, T^2 I)$ up to what is left of the images at $T$. No step is
# an approximation, until the integral and the divergence are computed.
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
# $$ \begin{aligned} -\log p(x) = {} & \tfrac12\lVert y_T\rVert^2
#    + \tfrac n2 \log\big(2\pi(v + \sigma_{\min}^2)\big) \\
#    & + \int \operatorname{tr} \partial_x\big(D - D_{\text{ref}}\big)\,
#      d\log\sigma . \end{aligned} $$ (eq-correction)
#
# Second, a mode of variance $S$ moves only while $\sigma$ passes
# $\sqrt S$: all modes in the same way, if time is $\log\sigma$. So equal
# steps in $\log\sigma$ are right, and long ones of order five
# {cite:p}`dormand1980family` are enough.

# %% tags=["nbval-check-output"]
world = power_law((1, 16, 16))
image = world.sample(1, generator=generator_from(4), sigma=0.001)
exact = world.potential(image, 0.001)
for steps in (4, 6, 8, 10):
    found = estimate_potential(world, image, steps, "exact")
    print(
        f"{6 * steps + 1} evaluations: {found.value.item():.2f} nats,"
        f" exact {exact.item():.2f}"
    )

# %% [markdown]
# The published programs give {eq}`eq-potential` to a general solver, SciPy's
# RK45 with tolerance $10^{-5}$, in the time $t = \sigma$ (EDM) or
# $t = \log\sigma$ (variance exploding). Evaluations of the denoiser in the
# Gaussian world, and what ours needs to be as good or better; the last column
# is the relative error of Heun's method on the grid of samplers after 160:

# %% tags=["hide-input", "nbval-check-output"]
benchmark.table(
    {"16": "16 x 16 pixels", "32": "32 x 32 pixels"},
    {
        "evaluations_edm": "RK45, EDM",
        "error_edm": "its relative error",
        "evaluations_ours_edm": "ours",
        "evaluations_ve": "RK45, VE",
        "evaluations_ours_ve": "ours",
        "error_heun_160": "Heun: error",
    },
    "{column}_{row}",
    fmt=".3g",
)

# %% [markdown]
# What is good enough to draw an image is not good enough to weigh it. What a
# batch of potentials by a network costs:

# %% tags=["hide-input", "nbval-check-output"]
gpu = load_results("benchmarks_gpu")
for cost in (benchmark["seconds_16_32"], gpu["potentials_16_64"]):
    print(f"{cost.value:.1f} {cost.unit}, {cost.machine}:\n    {cost.data}")

# %% [markdown]
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
    coins = torch.randint(0, 2, x.shape, generator=generator)
    e = 2 * coins.to(x) - 1
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
# integral of all $\partial_x v$ is a matrix that we know,
# $M = \tfrac12 \log\big((C + T^2)(C + t_0^2)^{-1}\big)$, with the same number all along its
# diagonal. So the spread of the potential is known too:

# %% tags=["nbval-check-output"]
probes = rademacher((1, 16, 16), 500, generator=generator_from(5))
pair = world.sample(2, generator=generator_from(6), sigma=0.001)
found = estimate_potential(world, pair, 8, Hutchinson(probes))
S, weights = world.spectrum, half_spectrum_weights((16, 16))
m = ((S + 80**2) / (S + 0.001**2)).log() / 2
trace_m, norm_m = (weights * m).sum(), (weights * m**2).sum()
formula = 2 * (norm_m - trace_m**2 / 256)
difference = found.by_probe[:, 0] - found.by_probe[:, 1]
print(f"spread over 500 probes {found.by_probe[:, 0].std():.1f} nats")
print(f"by the formula         {formula.sqrt():.1f} nats")
print(f"of a difference        {difference.std():.4f} nats")

# %% [markdown]
# The last line, the difference of two images with the same probes, is why an
# image and its versions are always given *the same* probe. In the Gaussian
# world the error of a difference is zero; for networks see below.
#
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

# %% [markdown]
# A file of 8-bit images has no density at all: its values sit on a grid, and
# a model that finds the grid out can make the density there as large as it
# likes. Two remedies: spread each value over its grey level
# {cite:p}`theis2016note` (`dequantise`), or ask at a noise level that hides
# the grid. This chapter does the latter: $\sigma_{\min} = 0.01$, two and a
# half grey levels, and every image gets noise of this size, *the same noise* as
# the versions that it is compared with.

# %%
few = x + 0.01 * normal_like(x, generator_from(5))
nats = potential(model, few, 8, 1, generator_from(6), sigma_min=0.01)
n = few[0].numel()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four portraits and their potential under the model of portraits.", "name": "fig-likely"}, "image": {"alt": "Four small portraits with a number below each."}}
show_images(
    few,
    captions=[
        f"{q / n:.2f} nats, {bits_per_dimension(q, n):.2f} bits" for q in nats
    ],
    columns=4,
)

# %% [markdown]
# (Both per dimension. Negative nats are no mistake: a density may exceed 1.)
#
# ## A ranking
#
# What does a model of portraits find likely?

# %%
noise = 0.01 * normal_like(x, generator_from(5))
probes = rademacher(tuple(x.shape), 1, generator=generator_from(6))
q = CommonNoisePotential(model, noise, probes, sigma=0.01)
others = {name: held_out(name, 4) for name in ("photos", "plates")}
versions = altered(x) | others
nats = {name: q(images) / n for name, images in versions.items()}
order = sorted(nats, key=lambda name: nats[name].mean())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A portrait, what was made of it, and images of other worlds, with the mean potential of four such images (nats per dimension); the most probable first.", "name": "fig-ranking"}, "image": {"alt": "Ten small images with numbers: a flat grey one first, the portrait with less contrast, the portrait itself, blurred, images of other worlds, its negative; noise and shuffled pixels last."}}
show_images(
    torch.cat([versions[name][:1] for name in order]),
    titles=[name.replace("_", " ") for name in order],
    captions=[f"{nats[name].mean():.2f}" for name in order],
    columns=5,
)

# %% [markdown]
# The same for each model on 10 images of its own world:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {name: name.replace("_", " ") for name in [*altered(x), *WORLDS]},
    {world: world for world in WORLDS},
    "rank_{column}_{row}",
    missing="–",
)

# %% [markdown]
# The model of portraits knows which way is up, a portrait from its negative,
# and its own world from the others. That of photographs, which has seen all
# kinds of things, does not: a negative is as good to it, and plates are
# likelier than its own world. And nothing is as probable to any of the three as
# an image with nothing on it; less contrast is better. That need not be
# a fault of the network. A density compares *points*: there are few flat
# images, each of them very probable, and many that show something, each
# improbable. Almost all samples show something, as almost all draws of a
# Gaussian in high dimension lie far from its mode. (Nor is it proof that the
# network is right: it has never seen a flat image.)
#
# ## Is blur likelier?
#
# Blur an image with a kernel $h_\theta$ of growing width, $h_0$ the identity,
# from four families. Beyond its borders the image goes on as its mirror image.

# %%
size = (1, 32, 32)
shown = torch.cat(
    [MirroredBlur(kernel(1.2), size).A(x[:1]) for kernel in FAMILIES.values()]
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A portrait blurred by the four families at 1.2 pixels.", "name": "fig-families"}, "image": {"alt": "Four blurred versions of a small portrait: soft, streaked, with faint rings, and out of focus."}}
show_images(shown, list(FAMILIES), columns=4)

# %%
compare(
    x[:1].repeat_interleave(8, 2).repeat_interleave(8, 3),
    shown[:1].repeat_interleave(8, 2).repeat_interleave(8, 3),
    ("x", "h * x"),
    alt="A small portrait and the same one, blurred.",
    caption="Which of the two is more probable? Move the handle.",
)

# %% [markdown]
# A short paper on blind deconvolution claims that
# $q(h_\theta * x) - q(x)$ falls strictly with $\theta$, for four published
# models and every family. (With the kernels of its program two of the curves
# begin with a jump: {doc}`erratum E10b <../book/errata>`.) Four images of
# each world, now:


# %%
def blur_changes(q, x, thetas=THETAS):
    """(q(h * x) - q(x)) / n for Gaussian kernels h of each width."""
    kernels = [gaussian_kernel(theta, dtype=x.dtype) for theta in thetas]
    after = [q(MirroredBlur(h, size).A(x)) for h in kernels]
    return (torch.stack(after) - after[0]).double() / x[0].numel()


live = {}
for world_name, denoiser in models.items():
    q = CommonNoisePotential(denoiser, noise, probes, sigma=0.01)
    live[world_name] = blur_changes(q, held_out(world_name, 4)).mean(1)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Change of the potential under Gaussian blur, mean of four images of each world, computed now.", "name": "fig-blur-live"}, "image": {"alt": "Three curves over the width of the kernel: that of photographs falls far, that of plates a little, that of portraits rises in the end."}}
axes = ("width θ of the kernel (pixels)", "change (nats / dimension)")
plot_curves(THETAS, live, *axes)

# %% [markdown]
# And in the layout of the source, over 100 held-out images for each model:


# %% tags=["hide-input"]
def stored(key, label):
    """A stored number at each width of the kernel, 0 at 0."""
    names = [f"{key}_{label}_{theta:g}" for theta in THETAS[1:]]
    return [0.0, *map(results.value, names)]


def stored_figure(labels):
    """Curves of the mean change, with bands of one deviation."""
    means = {k: stored("change", label) for k, label in labels.items()}
    bands = {k: stored("spread", label) for k, label in labels.items()}
    return plot_curves(THETAS, means, *axes, bands=bands)


def figure_of(world_name):
    """The four families in the eyes of the model of a world."""
    return stored_figure({f: f"{world_name}_{f}" for f in FAMILIES})


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Photographs: mean change over 100 images, with bands of one standard deviation.", "name": "fig-blur-photos"}, "image": {"alt": "Four falling curves with wide bands, all below zero."}}
figure_of("photos")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates: the same.", "name": "fig-blur-plates"}, "image": {"alt": "Four curves that fall to about a tenth below zero, with bands that reach up to zero."}}
figure_of("plates")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Portraits: the same. Mind the scale.", "name": "fig-blur-portraits"}, "image": {"alt": "Four curves that dip slightly below zero and come back, with bands on both sides of zero."}}
figure_of("portraits")

# %% [markdown]
# Photographs bear the claim out: a Gaussian of 2.4 pixels changes the
# potential by {glue:text}`change_photos_gaussian_2.4:.2f` nats per dimension.
# Plates do so in the mean
# ({glue:text}`change_plates_gaussian_2.4:.2f`), but not one by one. Of
# portraits only a slight blur lowers the potential
# ({glue:text}`change_portraits_gaussian_0.4:.2f` at 0.4 pixels); with more
# of it half of them rise again, and the mean comes back to
# {glue:text}`change_portraits_gaussian_2.4:.3f`, for defocus to
# {glue:text}`change_portraits_defocus_2.4:.3f`.

# %% [markdown]
# Each image by itself: the share of images whose potential never rises from
# one width to the next, with its 95 % interval (Clopper and Pearson's),

# %% tags=["hide-input", "nbval-check-output"]
rows = {
    f"{world_name}_{family}": f"{world_name}, {family}"
    for world_name in WORLDS
    for family in FAMILIES
}
columns = {"falls": "never rises", "falls_low": "from", "falls_high": "to"}
results.table(rows, columns, "{column}_{row}")

# %% [markdown]
# and the share of those with $q(h_\theta * x) \le q(x)$:

# %% tags=["hide-input", "nbval-check-output"]
widths = {f"{theta:g}": f"θ = {theta:g}" for theta in THETAS[1:]}
results.table(rows, widths, "below_{row}_{column}")

# %% tags=["remove-cell"]
for family in FAMILIES:
    assert results.value(f"falls_photos_{family}") > 0.8
    assert results.value(f"falls_portraits_{family}") < 0.5
    assert results.value(f"change_plates_{family}_2.4") < 0
assert abs(results.value("change_portraits_gaussian_2.4")) < 0.02

# %% [markdown]
# How far can this be trusted? Eight portraits once more, with other choices.
# Twice the steps move the mean change by at most
# {glue:text}`accuracy_steps_mean_portraits:.3f` nats per dimension, other
# noise by {glue:text}`accuracy_noise_mean_portraits:.3f`, other probes by
# {glue:text}`accuracy_probes_mean_portraits:.3f`. A single image has one
# probe, whose error is up to {glue:text}`accuracy_probes_portraits:.2f`
# ({glue:text}`accuracy_probes_photos:.2f` for photographs): in the mean over
# 100 images it is a tenth of that, in the counts it is not. The counts of
# portraits are rough therefore; those of photographs have changes that are
# many times larger. (The solver's own estimate of its error is
# {glue:text}`solver_error_ratio_portraits:.1f` times too small here: a
# network is not smooth on the scale of its long steps.)
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
# blur, and says so by theorem. (Gaussians of growing width are a semigroup;
# discs and segments are not, and for them only $q(h_\theta * x) \le q(x)$ is
# proved. The image in the theorem is periodic: take $x$ with its mirror
# images, twice as high and wide, which a symmetric kernel keeps so.)

# %%
tv, wavelets = SmoothedTV(1.0, 1e-3), InvariantSparsity(1.0, (1, 64, 64))
by_formula = {
    "total variation": blur_changes(lambda u: tv(mirror(u)), x),
    "wavelets": blur_changes(lambda u: wavelets(mirror(u)), x),
}
assert all((change <= 0).all() for change in by_formula.values())

# %% [markdown]
# To see them on the axes of the models, read a functional $R$ of degree one as
# a density, $p \propto e^{-\lambda R}$, with the $\lambda = n / \operatorname{mean} R$
# that makes the images of the world most likely:


# %% tags=["hide-input"]
def same_axes(world_name):
    """Gaussian blur as a model, total variation and wavelets see it."""
    return stored_figure(
        {
            "diffusion model": f"{world_name}_gaussian",
            "total variation": f"tv_{world_name}_gaussian",
            "wavelets": f"wavelets_{world_name}_gaussian",
        }
    )


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Photographs: three potentials of an image, and what Gaussian blur does to them.", "name": "fig-same-photos"}, "image": {"alt": "Three falling curves with bands."}}
same_axes("photos")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Portraits: the same.", "name": "fig-same-portraits"}, "image": {"alt": "Two falling curves, and one that stays at zero."}}
same_axes("portraits")

# %% [markdown]
# ### Where it fails, and why
#
# The potential of a diffusion model is not convex, and no theorem holds it. Take the
# extreme model, one that knows its training images by heart: $p_\sigma$ is a mixture of Gaussians of width
# $\sigma$ at the images, and its potential is a log-sum-exp.

# %% tags=["nbval-check-output"]
mixture = EmpiricalMixture(held_out("photos", 40).double())
for sigma in (0.02, 0.1, 0.5, 1.0):
    q = partial(mixture.potential, sigma=sigma)
    change = blur_changes(q, mixture.centres, thetas=(0.0, 1.5))[-1]
    print(
        f"sigma = {sigma}: change {change.mean():+.3f} nats/dim,"
        f" rises for {(change > 0).double().mean():.0%}"
    )

# %% [markdown]
# At its own images this model finds blur *less* likely, and at small noise
# levels by far. What a model learns depends on its world. Photographs come
# sharp and soft, near and far: the blurred version of one looks like another,
# smoother one, and smooth ones are the likelier. All portraits are rendered
# equally sharp, and the lens of the plates varies by little (0.2 to 0.5 pixels
# here). A slight blur takes away fine detail, which is the expensive part of an
# image; more of it leads to where no portrait is, and the potential rises
# again. "Blur is likelier" is a statement about a world, a model of it, and a
# noise level.
#
# It is also one about borders, bits and noise. The same experiment with
# Gaussian blur under other conditions:

# %% tags=["hide-input", "nbval-check-output"]
conditions = {
    "noisy_0.002": "density and noise at 0.002",
    "noisy_0.05": "density and noise at 0.05",
    "clean_0.01": "density at 0.01, no noise",
    "clean_0.002": "density at 0.002, no noise",
    "rounded_0.002": "density at 0.002, rounded and dequantised",
    "periodic": "blur across the borders",
}
worlds = {name: name for name in WORLDS}
results.table(conditions, worlds, "falls_{row}_{column}")

# %% [markdown]
# (Share of 10 images whose potential never rises with a Gaussian of 0.4, 1.2
# and 2.4 pixels; and the mean change at 1.2 pixels, nats per dimension:)

# %% tags=["hide-input", "nbval-check-output"]
results.table(conditions, worlds, "change_{row}_{column}_1.2")

# %% [markdown]
# Noise: without it an image is atypical of a density at noise level $\sigma$, all
# of whose images have noise; the less noise in image and density, the steeper
# the fall. Bits: rounded to 8 bits and dequantised, the image and its blurred
# version alike, the fall is a little smaller than with noise of the same
# level. Borders: if the left
# border blurs into the right one, portraits get a seam that no portrait has,
# and most of them become *less* probable, by
# {glue:text}`change_periodic_portraits_1.2:.2f` at 1.2 pixels. A periodic blur
# measures that, too.
#
# And the model: for the model of photographs, which has never seen a portrait,
# blurred portraits are likelier than sharp ones, by
# {glue:text}`change_portraits_by_photos_1.2:.2f` at 1.2 pixels; for their own
# model by {glue:text}`change_portraits_gaussian_1.2:.3f`. So it is for all
# six pairs of a model and a world that it has not seen: nine images in ten, or
# all, fall monotonically. To resist blur takes knowledge.
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
# For every convex invariant prior the hypothesis is the theorem above: no
# weight and no algorithm helps, the most probable answer is the measured image
# with its noise removed and its blur kept. For the model of photographs it is what we measured, image by image.
# For portraits it fails: the widest Gaussian lowers the potential of only
# {glue:text}`below_portraits_gaussian_2.4:.0%` of them. A prior that is not
# convex *can* hold a sharp image against its blurred version, though not
# against a slightly softer one. What can be made of that is the subject of
# blind deconvolution.
#
# ## Go further
#
# * `course potential --checkpoint FILE photo.png` weighs a photograph of your
#   own with a published model: an EDM file, which you fetch yourself, is read
#   without running the code that it carries.
# * `course train diffusion_plates32` trains a model again.
# * Train one on portraits that were blurred by different amounts, and repeat the experiment:
#   what should its curve look like?
