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
# # Inverting a generator
#
# **You will see** a formula for regularity replaced by a sentence, "the answer
# is something the network can draw": images recovered from fewer measurements
# than sparsity needs, a theorem that says when, and its price, restorations
# that look like a plate whether or not it is the right one.
#
# **You need** {doc}`chapter 6 <06_autoencoders>` (VAEs, the two worlds) and
# {doc}`chapter 4 <04_smoothed_tv>` (total variation).

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import plates, portraits
from course_lib.exact import label_posterior
from course_lib.exercises import (
    check_best_discriminator,
    check_effective_noise,
    check_latent_weight,
    check_nearest_in_model,
    check_x_step,
)
from course_lib.experiments.inversion import MEASUREMENTS, WEIGHTS
from course_lib.inference import Pushforward, Starts, Sweeps, map_xz, map_z
from course_lib.inference.classical import tuned_baselines
from course_lib.inference.latent import effective_noise
from course_lib.metrics import proportion_interval, psnr
from course_lib.models import LinearAutoencoder, load_pretrained, residual_std
from course_lib.operators import (
    CompressedSensing,
    Denoising,
    GaussianNoise,
    bicubic_downsampling,
    central_hole,
    restricted_singular_values,
)
from course_lib.plotting import (
    compare,
    decibels,
    plot_curves,
    plot_history,
    plot_paths,
    show_images,
)
from course_lib.results import load_results
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS

# %% tags=["remove-input"]
budget_card("07_inversion")

# %% tags=["remove-cell"]
results = load_results("07_inversion")
results.glue()

# %% [markdown]
# ## The nearest image of a model
#
# Chapter 1 took $A^+y$, the smallest of all images that explain the data. A
# **model** $\Sigma \subset \mathbb R^n$ of what images look like suggests
# another pseudo-inverse,
#
# $$ \hat x \in \operatorname*{argmin}_{x \in \Sigma} \lVert Ax - y\rVert^2 . $$ (eq-nearest)
#
# Take first the affine model of chapter 6, $\Sigma = \{c + Wz\}$ with $k$
# principal components of plates in the columns of $W$. Then
# $\hat x = c + W (AW)^+ (y - Ac)$: only $k$ numbers are unknown, and $m \ge k$
# measurements may do where $n = 4096$ pixels are asked for.
#
# :::{exercise} The nearest image of an affine model
# :label: ex-nearest
#
# Write $\hat x$ of {eq}`eq-nearest` for $\Sigma = \{c + Wz\}$, with tensors
# `A (m, n)`, `W (n, k)`, `c (n,)`, `y (m,)`.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def nearest(A, W, c, y):
    ### BEGIN SOLUTION
    z = torch.linalg.pinv(A @ W) @ (y - A @ c)
    return c + W @ z
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_nearest_in_model(nearest)

# %% [markdown]
# With $m = 100$ Gaussian measurements of a plate, rows with
# $\mathcal N(0, 1/m)$ entries, and noise of deviation $\sigma = 0.02$: how
# many components should the model have?

# %%
clean = plates.sample(torch.arange(1200), seed=0)[0]
test, letters = plates.sample(torch.arange(32), seed=2)


def gaussian_rows(m):
    """m measurements, of rows N(0, I / m), with noise of 0.02."""
    return CompressedSensing(
        m, (1, 64, 64), generator_from(m), noise_model=GaussianNoise(0.02)
    )


op = gaussian_rows(100)
y = op(test, generator=generator_from(1))
numbers = (2, 5, 10, 20, 40, 60, 80, 90, 95, 99)
recovered, floor = [], []
for k in numbers:
    model = LinearAutoencoder.principal_components(clean, k)
    W, c = model.decoder.weight, model.centre
    z = (y - op.A(c.view(1, 64, 64))) @ torch.linalg.pinv(op.matrix @ W).T
    x = (c + z @ W.T).view_as(test).detach()
    recovered.append(psnr(x, test).mean())
    floor.append(psnr(model(test).detach(), test).mean())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates from 100 measurements by an affine model of k principal components (solid), and the best that the same model could do with the whole image before it (dashed). More components come closer to every image, and 100 measurements determine them less well.", "name": "fig-affine"}, "image": {"alt": "Two curves of PSNR against the number of components: the dashed one rises steadily, the solid one rises to about twenty components and then falls steeply towards one hundred."}}
plot_curves(
    numbers,
    {"from 100 measurements": recovered, "the model itself": floor},
    "number of components",
    "PSNR (dB)",
    dashed=["the model itself"],
)

# %% tags=["remove-cell"]
best = max(range(len(numbers)), key=lambda i: recovered[i])
assert 10 <= numbers[best] <= 60
assert recovered[-1] < recovered[best] - 8

# %% [markdown]
# Two errors add up: the distance of the image from $\Sigma$, and the noise
# (with $A$ times that very distance in it) as the inverse of $AW$ magnifies
# it. A good model is a set of few dimensions that is close to all images. An
# affine one comes close only with many components, as the dashed curve shows.
# With a network $G$ the set $\Sigma = \{G(z)\}$ is curved.
#
# ## A generator
#
# The decoder of a VAE is one. A **generative adversarial network**
# {cite:p}`goodfellow2014generative` is another: $G$ draws, and a
# discriminator $C$ learns to tell its images from real ones. (It is usually
# written D, the letter of a denoiser in this book.) There is no likelihood
# and no encoder. In the game of 2014, $C(x) \in (0, 1)$ is the probability that
# $x$ is real, and the two players disagree about one number,
#
# $$ \min_G \max_C\; V = \mathbb E_x \log C(x)
#    + \mathbb E_z \log\bigl(1 - C(G(z))\bigr) . $$ (eq-game)
#
# Suppose that the images are finitely many, real ones with probabilities
# $p(x)$ and drawn ones with $p_G(x)$. What should $C$ answer?
#
# :::{exercise} The best discriminator
# :label: ex-discriminator
#
# Maximise $V$ over $C$, for tensors `p` and `drawn` of probabilities.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def best(p, drawn):
    ### BEGIN SOLUTION
    return p / (p + drawn)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_best_discriminator(best)

# %% [markdown]
# :::{admonition} What the generator then minimises
# :class: dropdown
#
# At $C = p / (p + p_G)$ the value is
#
# $$ V = \sum_x p \log \frac{p}{p + p_G} + p_G \log \frac{p_G}{p + p_G}
#      = 2\, \mathrm{JS}(p, p_G) - 2 \log 2 , $$
#
# where the Jensen-Shannon divergence is the mean of the divergences
# $\mathrm{KL}(p \,\Vert\, \mu)$ and $\mathrm{KL}(p_G \,\Vert\, \mu)$ from
# $\mu = (p + p_G) / 2$. It is zero only if $p_G = p$: the
# generator wins by drawing as nature does. `jensen_shannon` computes it, and
# its test searches all discriminators of a fine grid.
# :::
#
# So the game has the right end. Two things keep players from getting there.
#
# *The slope vanishes.* If real and drawn images have nothing in common,
# the divergence is $\log 2$, however far they are apart, and moving $G$ a
# little changes nothing. Take the real law $\mathcal N(0, 1)$ on the line, a
# generator that draws $\mathcal N(t, 1)$, and the best discriminator, whose
# logit is $t^2/2 - t x$. The slope that the generator feels in $t$ is then
# $t\, \mathbb E\, C(G(z))$, which vanishes where $C$ is sure. With the loss
# $-\log C(G(z))$ instead, also proposed in 2014, it is
# $t\, \mathbb E\,(1 - C(G(z)))$ and grows with the distance.

# %%
distance = torch.linspace(0, 8, 81).double()
noise = torch.randn(20000, 1, generator=generator_from(0)).double()
C = (distance**2 / 2 - distance * (distance + noise)).sigmoid()
slopes = {
    "log(1 - C)": distance * C.mean(0),
    "-log C": distance * (1 - C).mean(0),
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The slope in t of the generator's loss, for real numbers from N(0, 1), drawn ones from N(t, 1), and the best discriminator. Far away the loss of the game tells the generator nothing.", "name": "fig-slope"}, "image": {"alt": "Two curves that leave zero together; one has its maximum near a distance of two and falls to zero, the other grows in proportion to the distance."}}
plot_curves(distance, slopes, "distance t", "slope of the generator's loss")

# %% [markdown]
# *The players turn in circles.* Let every real image be the number 0, let
# $G$ draw the number $t$ only, and let the logit of $C$ be $\ell x$: two
# parameters {cite:p}`mescheder2018which`. Of $V$ only
# $\log(1 - C(t))$ depends on them. Each player in turn takes a step, $C$
# upwards and $G$ downwards.


# %%
def play(penalty, n=300, step=0.2):
    """Steps of both players from t = 1, with a penalty on the slope of C."""
    t, logit = torch.tensor([1.0, 0.0]).double()
    path = [torch.stack([t, logit])]
    for _ in range(n):
        logit = logit - step * (torch.sigmoid(logit * t) * t + penalty * logit)
        t = t + step * torch.sigmoid(logit * t) * logit
        path.append(torch.stack([t, logit]))
    return torch.stack(path)


circles, arrives = play(0.0), play(0.3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The drawn number t and the slope of the discriminator, from t = 1. Without a penalty the players go round the solution for ever; with a penalty on the slope they arrive.", "name": "fig-circles"}, "image": {"alt": "A closed orbit of many points around the origin, and a spiral that ends in the origin."}}
plot_paths(
    lambda p: p.square().sum(1),
    {"no penalty": circles[:120], "penalty on the slope": arrives},
    "drawn number t",
    "slope of the discriminator",
    goal="solution",
)

# %% tags=["remove-cell"]
assert circles[-100:].norm(dim=1).min() > 0.9
assert arrives[-1].norm() < 1e-3
assert slopes["log(1 - C)"][-1] < 0.01 < 7 < slopes["-log C"][-1]

# %% [markdown]
# There is a third: a generator may win with a few perfect images. Today's
# networks are trained by another game, in which each real image is set against
# a drawn one {cite:p}`jolicoeur2019relativistic`, with $C$ any real number,
#
# $$ \begin{aligned}
#    \min_C &\; \mathbb E \,\operatorname{softplus}\bigl(C(G(z)) - C(x)\bigr)
#    + \tfrac{\gamma}{2}\,\mathbb E\lVert\nabla C(x)\rVert^2
#    + \tfrac{\gamma}{2}\,\mathbb E\lVert\nabla C(G(z))\rVert^2, \\
#    \min_G &\; \mathbb E \,\operatorname{softplus}\bigl(C(x) - C(G(z))\bigr).
#    \end{aligned} $$ (eq-relativistic)
#
# In this one a generator that never draws some kind of image stays at a loss,
# as {cite:t}`huang2024gan` argue; the two penalties are those that end the
# circles. Both together are the recipe of {cite:t}`huang2024gan`, here at a
# size that trains on one core.
#
# A **conditional** GAN is told what to draw {cite:p}`mirza2014conditional`.
# Each expectation of {eq}`eq-game` is then also one over a label $i$, and its
# law must be said: $C(x, i)$ is best at the share of the joint laws,
# $p(x, i) / (p(x, i) + p_G(x, i))$. If the labels for $G$ are drawn
# with other frequencies than those of the data, $C$ judges by the label alone,
# and perfect images do not end the game.

# %%
gan = load_pretrained("gan_plates64")
heads = load_pretrained("gan_portraits64")
told = load_pretrained("gan_plates64_conditional")
drawn = gan.sample(16, generator=generator_from(0))
people = heads.sample(16, generator=generator_from(0))
label = torch.arange(16) * 2
named = told.sample(16, generator=generator_from(0), label=label)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Samples of three GANs: plates, portraits, and plates by a network that is told what to draw (A, C, E, ... and then 4).", "name": "fig-gan"}, "image": {"alt": "Two rows of invented plates with characters, two rows of invented portraits, and two rows of plates that go through every second letter of the alphabet and some digits."}}
show_images(
    torch.cat([drawn, people, named]),
    columns=8,
    rows=["plates", "", "portraits", "", "told what", ""],
)

# %% [markdown]
# A classifier of plates (`classifier_plates`, see {doc}`its card
# </book/models>`), the *reader* from here on, measures what is drawn:
# {glue:text}`readable_plates64:.2f` of 2000 samples it reads
# with a confidence above 0.9, {glue:text}`characters_plates64:.0f` of the 36
# characters occur at least a fifth as often as they should, and the entropy
# of their frequencies is {glue:text}`entropy_plates64:.2f` nats of
# $\log 36 = 3.58$. Samples of portraits spread
# {glue:text}`spread_portraits64:.2f` times as far from one another as
# portraits do. Told what to draw, the conditional network is read as told in
# {glue:text}`right_character_plates64_conditional:.2f` of the cases.
#
# ## Inversion
#
# To find a given image in the range of $G$ is to minimise over its latent.
# With noise, an operator, and the prior $z \sim \mathcal N(0, I)$, Bayes' rule
# has the negative logarithm of $p(z \mid y)$,
#
# $$ f(z) = \frac{\lVert A G(z) - y\rVert^2}{2\sigma^2}
#    + \frac{\lVert z\rVert^2}{2} , $$ (eq-map-z)
#
# which is not convex. The descent, by L-BFGS, is started from several draws
# of the prior, all in one batch, and the end of least $f$ is kept.

# %%
few, sigma = test[:4], 0.02
identity = Denoising((1, 64, 64))
vae = load_pretrained("vae_plates64_compact")
options = {"sigma": sigma, "starts": Starts(6, "prior")}
by_gan, by_vae = (
    map_z(
        model,
        identity,
        few,
        **options,
        optimiser=LBFGS(max_iter),
        generator=generator_from(3),
    )
    for model, max_iter in ((gan, 100), (vae, 60))
)
long = map_z(
    gan,
    identity,
    few[:1],
    **options,
    optimiser=LBFGS(400),
    generator=generator_from(3),
)
for name, ends in {
    "GAN": long.all_objective[0],
    "compact VAE": by_vae.all_objective[0],
}.items():
    print(name, (ends / ends.min()).sort().values.numpy().round(3))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The objective of the first plate along L-BFGS from six starts. Those of the VAE end together. Those of the GAN are still at different values at the end (the ratios to the least one are printed above).", "name": "fig-restarts"}, "image": {"alt": "Falling curves on a logarithmic axis: six that meet at one value and six that level out at clearly different values."}}
plot_history(
    {
        "GAN": long.history["objective"][:, 0],
        "compact VAE": by_vae.history["objective"][:, 0],
    },
    ylabel="objective f(z)",
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates (top), the nearest images of the GAN (middle) and of the compact VAE (bottom), with their PSNR.", "name": "fig-inverted"}, "image": {"alt": "Four plates and two rows of their likenesses: the GAN's strokes are uneven and its background has a faint grid, the VAE's strokes are even and a little softer."}}
show_images(
    torch.cat([few, by_gan.x, by_vae.x]),
    captions=decibels(few, by_gan.x, by_vae.x, truth=few),
    columns=4,
    rows=["plates", "GAN", "compact VAE"],
)

# %% tags=["remove-cell"]
worst, best_end = by_vae.all_objective[0].max(), by_vae.all_objective[0].min()
assert worst < 1.01 * best_end  # "end together"
worst, best_end = long.all_objective[0].max(), long.all_objective[0].min()
assert worst > 1.05 * best_end  # "at different values"

# %% [markdown]
# How well do the generators invert? 32 held-out images of each world, by the
# best of four starts, and what the other three starts add to the first, with
# 95 % intervals over images:

# %% tags=["hide-input", "nbval-check-output"]
kinds = {
    f"{kind}_{world}": f"{words}, {world}"
    for world in ("plates", "portraits")
    for kind, words in {
        "gan": "GAN, 64 numbers",
        "compact": "compact VAE, 32 or 48",
        "conv": "convolutional VAE, 1024",
    }.items()
}
results.table(
    kinds,
    {
        "inverted": "PSNR (dB)",
        "inverted_lpips": "LPIPS",
        "gain_of_starts": "gain of 3 more starts (dB)",
        "spread": "worst / best objective",
    },
    "{column}_{row}",
    half="half_{column}_{row}",
    fmt={
        "inverted": ".2f",
        "inverted_lpips": ".3f",
        "gain_of_starts": ".2f",
        "spread": ".2f",
    },
)

# %% tags=["remove-cell"]
for world in ("plates", "portraits"):
    assert results[f"spread_gan_{world}"].value > 1.1
    for kind in ("compact", "conv"):
        assert results[f"spread_{kind}_{world}"].value < 1.02

# %% [markdown]
# The four starts of a VAE end at nearly the same objective, and its first
# start is as good as the best. Those of the GAN differ, in the median by the
# factor in the last column, and more starts give a better image. The training
# of a VAE asks for a latent near every image, which its encoder computes. That
# of the GAN asks only that drawn images look like real ones. With 1024 latents
# the convolutional VAE comes closer to the images than both.
#
# ## Fewer measurements than sparsity needs
#
# {cite:t}`bora2017compressed` put {eq}`eq-map-z` in the place of the Lasso
# {cite:p}`tibshirani1996regression` of compressed sensing
# {cite:p}`candes2008introduction`. One thing first. The image is not *in* the
# range of $G$, only near it, at a root mean square distance $s$ per pixel.
# For the latent, $A(x - G(z))$ is noise like any other.
#
# :::{exercise} The noise that the latent must bear
# :label: ex-bear
#
# If $x - G(z)$ is white with deviation `std`, and the sensor adds white noise
# of deviation `sigma`: what is the root mean square of $y - AG(z)$, a number
# for all of the `m` measurements together, for a matrix `A (m, n)`?
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def noise_to_bear(A, sigma, std):
    ### BEGIN SOLUTION
    return (sigma**2 + std**2 * A.square().sum().item() / len(A)) ** 0.5
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_effective_noise(noise_to_bear)

# %% tags=["nbval-check-output"]
std = residual_std("vae_plates64_compact")
seen = effective_noise(op, sigma, std)
print(f"sensor {sigma}, with the model's own error {seen:.2f}")


def invert(model, op, y, n_starts, max_iter, std, sigma=0.02):
    """map_z with the noise of the sensor and of the model together."""
    return map_z(
        model,
        op,
        y,
        sigma=effective_noise(op, sigma, std),
        starts=Starts(n_starts, "prior"),
        optimiser=LBFGS(max_iter),
        generator=generator_from(3),
    )


# %% [markdown]
# This is the $\sigma$ that {eq}`eq-map-z` gets. The baselines are the Lasso in
# cosines and in wavelets, and total variation, each with the weight that is
# best on other plates, measured by the same $A$.

# %%
y = op(few, generator=generator_from(1))
others = plates.sample(torch.arange(8), seed=1)[0]
measured = op(others, generator=generator_from(2))
baselines = tuned_baselines(op, y, measured, others, sigma=sigma)
gan_std = residual_std("gan_plates64")
found = {
    "wavelets": baselines["lasso_wavelets"].x,
    "total variation": baselines["tv"].x,
    "GAN": invert(gan, op, y, 3, 60, gan_std).x,
    "compact VAE": invert(vae, op, y, 2, 60, std).x,
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four plates of 4096 pixels from 100 measurements. From top to bottom: truth, Lasso in wavelets, total variation, GAN, compact VAE. PSNR below each.", "name": "fig-hundred"}, "image": {"alt": "Five rows of four plates: the truth V, T, 6, X; grey with scattered spots; blocky patches in which V and X can be guessed; and two rows in which V, 6 and X can be read, while the T has become an I or a D."}}
show_images(
    torch.cat([few, *found.values()]),
    captions=decibels(few, *found.values(), truth=few),
    columns=4,
    rows=["truth", *found],
)

# %%
compare(
    found["total variation"][:1],
    found["compact VAE"][:1],
    ("total variation", "generator"),
    truth=few[:1],
    alt="A blocky V in a patchwork of greys, and a smooth V.",
    caption="The same 100 measurements, explained twice. Move the handle.",
)

# %% tags=["hide-input"]
methods = {
    "gan": "GAN",
    "compact": "compact VAE",
    "conv": "convolutional VAE",
    "tv": "total variation",
    "lasso_wavelets": "Lasso, wavelets",
    "lasso_dct": "Lasso, cosines",
}


def sensing_curves(world):
    """PSNR against the number of measurements, with 95% intervals."""
    values, bands = {}, {}
    for key, words in methods.items():
        names = [f"{key}_{world}_{m}" for m in MEASUREMENTS]
        values[words] = [results[f"cs_{name}"].value for name in names]
        bands[words] = [results[f"cs_half_{name}"].value for name in names]
    return plot_curves(
        MEASUREMENTS,
        values,
        "number of measurements m, of 4096",
        f"PSNR (dB), {world}",
        log="x",
        bands=bands,
    )


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Held-out plates (32), mean PSNR with 95% intervals. The GAN and the compact VAE lead at few measurements and level out at the distance of the plates from their ranges.", "name": "fig-cs-plates"}, "image": {"alt": "Six curves, close together at 10 measurements. At 100 the three generators are above the others, the compact VAE by most. GAN and compact VAE level out, total variation crosses them between 250 and 500 measurements, the Lassos between 1000 and 2000. The convolutional VAE is highest from 250 on."}}
sensing_curves("plates")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for 32 held-out portraits.", "name": "fig-cs-portraits"}, "image": {"alt": "Six curves. GAN and compact VAE are highest up to 100 measurements and level out below 29 dB; the convolutional VAE is highest at 500 and 1000, total variation at 2000."}}
sensing_curves("portraits")

# %% tags=["remove-cell"]
for world in ("plates", "portraits"):
    for kind in ("gan", "compact"):
        gains = [
            results[f"cs_gain_{kind}_{world}_{m}"].value for m in MEASUREMENTS
        ]
        assert gains[2] > 0 > gains[-2]  # ahead at 100, overtaken at 1000

# %% [markdown]
# At $m = 100$ the compact VAE is
# {glue:text}`cs_gain_compact_plates_100:.1f` ±
# {glue:text}`cs_gain_half_compact_plates_100:.1f` dB above the best of the
# baselines on plates, and {glue:text}`cs_gain_compact_portraits_100:.1f` ±
# {glue:text}`cs_gain_half_compact_portraits_100:.1f` dB on portraits; the GAN
# {glue:text}`cs_gain_gan_plates_100:.1f` ±
# {glue:text}`cs_gain_half_gan_plates_100:.1f` and
# {glue:text}`cs_gain_gan_portraits_100:.1f` ±
# {glue:text}`cs_gain_half_gan_portraits_100:.1f` dB. At $m = 2000$ the same
# differences are {glue:text}`cs_gain_compact_plates_2000:.1f` ±
# {glue:text}`cs_gain_half_compact_plates_2000:.1f`,
# {glue:text}`cs_gain_compact_portraits_2000:.1f` ±
# {glue:text}`cs_gain_half_compact_portraits_2000:.1f`,
# {glue:text}`cs_gain_gan_plates_2000:.1f` ±
# {glue:text}`cs_gain_half_gan_plates_2000:.1f` and
# {glue:text}`cs_gain_gan_portraits_2000:.1f` ±
# {glue:text}`cs_gain_half_gan_portraits_2000:.1f` dB. The curves have crossed:
# an image in the range of a generator with few latents is no closer than that
# range to the truth, however many measurements there are. The convolutional
# VAE with its 1024 latents needs more measurements and levels out higher. It is
# {glue:text}`cs_gain_conv_plates_250:.1f` ±
# {glue:text}`cs_gain_half_conv_plates_250:.1f` dB above the baselines at
# $m = 250$ on plates and {glue:text}`cs_gain_conv_plates_2000:.1f` ±
# {glue:text}`cs_gain_half_conv_plates_2000:.1f` dB at $m = 2000$. On
# portraits the difference at $m = 2000$ is
# {glue:text}`cs_gain_conv_portraits_2000:.1f` ±
# {glue:text}`cs_gain_half_conv_portraits_2000:.1f` dB.
#
# ### How much should $\lVert z\rVert^2$ weigh?
#
# The code of {cite:t}`bora2017compressed` minimises a *mean*,
# $\frac1m\lVert AG(z) - y\rVert^2 + \lambda_0\lVert z\rVert^2$, with
# $\lambda_0 = 0.1$ at a noise of $\sigma = 0.1$ (digits), and
# $\lambda_0 = 0.001$ at $\sigma = 0.01$ (faces).
#
# :::{exercise} From one convention to the other
# :label: ex-weight
#
# With which weight $\lambda$ does $\lVert AG(z) - y\rVert^2/(2\sigma^2) +
# \frac \lambda2\lVert z\rVert^2$ have the same minimisers?
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def latent_weight(lam, m, sigma):
    ### BEGIN SOLUTION
    return lam * m / sigma**2
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_latent_weight(latent_weight)

# %% [markdown]
# Both settings, with the $\sigma$ that belongs to each, are
# $\lambda = \lambda_0 m / \sigma^2 = 10\,m$, a thousand for $m = 100$, where
# Bayes' rule has $\lambda = 1$. In part the larger weight makes up for the
# distance of images from the range, which that $\sigma$ does not contain. Here
# it does:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates from 50 measurements by the compact VAE, for weights λ of |z|² around the one of Bayes' rule (λ = 0 stands at the left end), with intervals of the mean over 32 plates.", "name": "fig-weight"}, "image": {"alt": "A curve that rises a little from left to right up to a weight of 3 and falls steeply towards 100, with wide bands."}}
plot_curves(
    [max(w, 0.001) for w in WEIGHTS],
    {"m = 50": [results[f"weight_{w:g}"].value for w in WEIGHTS]},
    "weight λ of |z|²",
    "PSNR (dB)",
    log="x",
    bands={"m = 50": [results[f"weight_half_{w:g}"].value for w in WEIGHTS]},
    marks={"Bayes": (1.0, results["weight_1"].value)},
)

# %% tags=["remove-cell"]
gain = results["weight_gain_100"].value
assert gain + results["weight_gain_half_100"].value < 0

# %% [markdown]
# Compared with $\lambda = 1$ on the same plates, $\lambda = 10$ is at
# {glue:text}`weight_gain_10:.1f` ± {glue:text}`weight_gain_half_10:.1f` dB and
# $\lambda = 100$ at {glue:text}`weight_gain_100:.1f` ±
# {glue:text}`weight_gain_half_100:.1f` dB. Without the prior, $\lambda = 0$, the
# difference is {glue:text}`weight_gain_0:.1f` ±
# {glue:text}`weight_gain_half_0:.1f` dB.
#
# ## A theorem, and its constant measured
#
# :::{prf:theorem} {cite:t}`bora2017compressed`
# :label: thm-bora
#
# Let $G: \mathbb R^k \to \mathbb R^n$ be a network of $d$ layers with
# rectifiers, and let $A$ have $m$ rows of independent
# $\mathcal N(0, 1/m)$ entries, with $m$ at least a constant times
# $kd\log n$. For $y = Ax^* + \eta$ let $\hat z$ minimise
# $\lVert AG(z) - y\rVert$ up to $\varepsilon$. Then, but for a probability
# that falls exponentially with $m$,
#
# $$ \lVert G(\hat z) - x^*\rVert \le
#    6 \min_z \lVert G(z) - x^*\rVert + 3\lVert\eta\rVert + 2\varepsilon . $$
# :::
#
# The core of the proof is short. Say that $A$ keeps distances in the range of $G$
# if $\lVert A(x_1 - x_2)\rVert \ge \gamma\lVert x_1 - x_2\rVert$ for all
# $x_1, x_2$ in it. With $\bar x$ the nearest image in the range and
# $\hat x = G(\hat z)$,
#
# $$ \begin{aligned}
#    \gamma \lVert\hat x - \bar x\rVert
#    &\le \lVert A\hat x - y\rVert + \lVert A\bar x - y\rVert
#    \le 2\lVert A\bar x - y\rVert + \varepsilon \\
#    &\le 2\lVert A(x^* - \bar x)\rVert + 2\lVert\eta\rVert + \varepsilon
#    \le 4\lVert x^* - \bar x\rVert + 2\lVert\eta\rVert + \varepsilon ,
#    \end{aligned} $$
#
# where the last step needs $\lVert Av\rVert \le 2\lVert v\rVert$ for the one
# vector $v = x^* - \bar x$, which a random $A$ violates with small
# probability. So the error is at most
# $(1 + 4/\gamma)\lVert x^* - \bar x\rVert + (2\lVert\eta\rVert +
# \varepsilon)/\gamma$, and $\gamma = 4/5$ gives the 6. What is left to prove,
# and what needs the number of rows, is that *one* $A$ keeps *all* distances in
# a set with $k$ degrees of freedom. On pairs of samples that can be measured;
# it is an upper bound of $\gamma$, since the worst pair may not be among them.

# %%
with torch.no_grad():
    pool = gan.sample(100, generator=generator_from(0))
low, high = zip(
    *(
        restricted_singular_values(gaussian_rows(m), pool)
        for m in MEASUREMENTS
    ),
    strict=True,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Least and largest ratio of distances after and before A, over the 4950 pairs of 100 samples of the GAN. Over all images the least one is 0 as long as m < 4096: some difference lies in the kernel of A.", "name": "fig-srec"}, "image": {"alt": "Two curves that approach 1 from below and from above as the number of measurements grows, and a dashed line at 0.8 which the lower one meets at 100."}}
plot_curves(
    MEASUREMENTS,
    {
        "least ratio": low,
        "largest ratio": high,
        "4/5": [0.8] * len(MEASUREMENTS),
    },
    "number of measurements m",
    "|A(x − x')| / |x − x'|",
    log="x",
    dashed=["4/5"],
)

# %% tags=["remove-cell"]
assert low[0] < 0.4 < 0.8 < low[5]

# %% [markdown]
# The theorem does not say how to *find* $\hat z$. For random networks,
# descent from a few starts finds it once there is a little more data than
# unknowns. Five unknowns, two layers, 400 pixels, no noise, eight networks for
# each $m$:


# %%
def random_network(seed):
    """G: five numbers to 400 through 60 rectifiers, with random weights."""
    g = generator_from(seed)
    first = torch.randn(60, 5, generator=g, dtype=torch.float64)
    second = torch.randn(400, 60, generator=g, dtype=torch.float64) / 60**0.5
    return lambda z: torch.relu(z @ first.T) @ second.T


def recovers(m, seed):
    """Whether map_z finds the image again from m measurements."""
    G = random_network(seed)
    model = Pushforward(lambda z: G(z).view(-1, 1, 20, 20), (5,))
    A = CompressedSensing(
        m, (1, 20, 20), generator_from(seed), dtype=torch.float64
    )
    x = model.decode(
        torch.randn(1, 5, generator=generator_from(99), dtype=torch.float64)
    ).mean
    found = map_z(
        model,
        A,
        A.A(x),
        sigma=0.1,
        latent_weight=0.0,
        starts=Starts(6, "prior"),
        optimiser=LBFGS(max_iter=150),
        generator=generator_from(seed),
    )
    return ((found.x - x).norm() < 1e-3 * x.norm()).item()


rows = (2, 4, 5, 6, 8, 10, 15)
share = [sum(recovers(m, seed) for seed in range(8)) / 8 for m in rows]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of eight random networks with five latents whose image is recovered to 0.1%: none from fewer than five measurements, all of them from eight on.", "name": "fig-transition"}, "image": {"alt": "A curve that is zero up to four measurements and rises to one at eight."}}
plot_curves(
    rows, {"recovered": share}, "number of measurements m", "share recovered"
)

# %% tags=["remove-cell"]
assert share[0] == share[1] == 0  # "none from fewer than five"
assert share[4:] == [1, 1, 1]  # "all of them from eight on"

# %% [markdown]
# ## Leaving the range
#
# The distance of an image from the range can be reduced where there are data.
# If $x$ given $z$ is $\mathcal N(G(z), s^2 I)$, as in a VAE, image and
# latent have the joint objective {cite:p}`gonzalez2022solving`
#
# $$ J(x, z) = \frac{\lVert Ax - y\rVert^2}{2\sigma^2}
#    + \frac{\lVert x - G(z)\rVert^2}{2 s^2} + \frac{\lVert z\rVert^2}{2} , $$ (eq-joint)
#
# quadratic in $x$. Minimise over the two in turn: $x$ exactly, and $z$ by a
# proposal of the encoder, one pass, which is taken if it lowers $J$, and
# otherwise by descent. So $J$ never rises.
#
# :::{exercise} The x-step
# :label: ex-x-step
#
# Write the minimiser over $x$ of {eq}`eq-joint` for inpainting: `mask` is 1
# where a pixel was seen, and `y` is 0 elsewhere.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def x_step(y, mask, generated, sigma, std):
    ### BEGIN SOLUTION
    weight = mask / sigma**2 + 1 / std**2
    return (mask * y / sigma**2 + generated / std**2) / weight
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_x_step(x_step)

# %%
hole = central_hole((1, 64, 64), 24, GaussianNoise(0.02))
seen_pixels = hole(few, generator=generator_from(4))
in_range = map_z(
    vae, hole, seen_pixels, sigma=0.02, starts=Starts(1), optimiser=LBFGS(60)
)
joint = map_xz(vae, hole, seen_pixels, sigma=0.02, sweeps=Sweeps(20))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A hole of 24 x 24 pixels. From top to bottom: what is seen, the best image in the range of the compact VAE, and the joint estimate, which may leave it. Where pixels were seen the joint estimate is close to them, noise included; in the hole it depends on the VAE alone, and for V and 6 it is the worse of the two.", "name": "fig-joint"}, "image": {"alt": "V, T, 6 and X with a black square in the middle; four soft plates without it; and four plates with sharp surroundings and a soft middle, in which the T has a bar to the right and the 6 a blot."}}
show_images(
    torch.cat([seen_pixels, in_range.x, joint.x]),
    captions=decibels(seen_pixels, in_range.x, joint.x, truth=few),
    columns=4,
    rows=["seen", "in the range", "joint"],
)

# %% tags=["remove-cell"]
J = joint.history["objective"]
assert (J[1:] <= J[:-1] * (1 + 1e-5)).all()
above = psnr(joint.x, few) > psnr(in_range.x, few)
assert above.tolist() == [False, True, False, True]  # "for V and 6"


def interval(key, world):
    """The interval of a stored difference of the joint estimate."""
    middle = results[f"joint_{key}_xz_{world}"].value
    half = results[f"joint_{key}_half_xz_{world}"].value
    return middle - half, middle + half


for world in ("plates", "portraits"):
    low, high = interval("gain", world)
    assert low < 0 < high  # "contain zero"
    assert interval("inside_gain", world)[1] < 0  # "below"
assert interval("lpips_gain", "portraits")[1] < 0

# %% [markdown]
# The same on 32 held-out images of each world. "Minus in range" is the
# difference on the same image, with $95\,\%$ intervals:

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "z_plates": "in range, plates",
        "xz_plates": "joint, plates",
        "z_portraits": "in range, portraits",
        "xz_portraits": "joint, portraits",
    },
    {
        "psnr": "PSNR (dB)",
        "gain": "minus in range",
        "inside": "PSNR in the hole (dB)",
        "inside_gain": "minus in range",
        "lpips": "LPIPS",
    },
    "joint_{column}_{row}",
    fmt={
        "psnr": ".2f",
        "gain": "+.2f",
        "inside": ".2f",
        "inside_gain": "+.2f",
        "lpips": ".3f",
    },
    missing="–",
    half="joint_{column}_half_{row}",
)

# %% [markdown]
# Over the whole image the joint estimate has the higher PSNR for
# {glue:text}`joint_better_plates:.2f` of the plates and
# {glue:text}`joint_better_portraits:.2f` of the portraits, but both intervals of
# the mean difference contain zero. In the hole, where
# $x$ has no data, it is below the best image in the range: by
# {glue:text}`joint_inside_gain_xz_plates:.1f` ±
# {glue:text}`joint_inside_gain_half_xz_plates:.1f` dB for plates and
# {glue:text}`joint_inside_gain_xz_portraits:.1f` ±
# {glue:text}`joint_inside_gain_half_xz_portraits:.1f` dB for portraits. Leaving the
# range lets the image follow the data where there are some; it does not help where
# there are none.

# %% [markdown]
# ## The wrong world
#
# What happens when the image is of another kind than those of the training?
# Here portraits are measured, and restored by generators of plates too:

# %%
faces = portraits.sample(torch.arange(4), seed=2)[0]
op = gaussian_rows(250)
y = op(faces, generator=generator_from(1))
of_plates = invert(vae, op, y, 2, 60, std).x
knows = load_pretrained("vae_portraits64_compact")
heads_std = residual_std("vae_portraits64_compact")
of_heads = invert(knows, op, y, 1, 80, heads_std).x

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Portraits (top) from 250 measurements: by the compact VAE of portraits (middle) and by the compact VAE of plates (bottom), which answers with the plate that fits best.", "name": "fig-wrong"}, "image": {"alt": "Four puppet heads; four soft versions of them; four curved shapes like parts of letters, light and dark where the heads are."}}
show_images(
    torch.cat([faces, of_heads, of_plates]),
    captions=decibels(faces, of_heads, of_plates, truth=faces),
    columns=4,
    rows=["truth", "of portraits", "of plates"],
)

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "by_portraits_portraits": "portraits, by portraits",
        "by_plates_portraits": "portraits, by plates",
        "by_plates_plates": "plates, by plates",
        "by_portraits_plates": "plates, by portraits",
    },
    {
        "psnr": "PSNR (dB)",
        "gain": "minus right world",
        "lpips": "LPIPS",
        "residual": "residual / noise to bear",
    },
    "wrong_{column}_{row}",
    fmt={"psnr": ".1f", "gain": "+.1f", "lpips": ".3f", "residual": ".2f"},
    missing="–",
    half="wrong_{column}_half_{row}",
)

# %% tags=["remove-cell"]
for world, other in (("plates", "portraits"), ("portraits", "plates")):
    right, wrong = (
        results[f"wrong_residual_by_{name}_{world}"].value
        for name in (world, other)
    )
    assert right < 1 < wrong
    gain = results[f"wrong_gain_by_{other}_{world}"].value
    half = results[f"wrong_gain_half_by_{other}_{world}"].value
    assert gain + half < 0

# %% [markdown]
# The last column is the median residual $\lVert Ax - y\rVert / \sqrt m$ in units
# of the noise that the latent has to bear. It is below one in the right world,
# where the latent was fitted to these measurements, and above one in the wrong
# world. With the threshold that nine in ten images of the right world pass,
# {glue:text}`wrong_flagged_plates:.2f` of the plates and
# {glue:text}`wrong_flagged_portraits:.2f` of the portraits (32 each) are found
# to be restored by the wrong model. The residual detects an image that the
# model cannot explain. It does not detect a wrong image that explains the
# data, of which there are many in the next section.
#
# ## What it reads
#
# At 1/16 of the resolution and with noise of 0.1, a plate is 16 numbers, and
# several characters explain them. Which, and with which probability? The
# plates are drawn by a program, so *brute force* can answer: draw many plates
# and weigh each by how well it explains $y$,
#
# $$ p(c \mid y) \approx \sum_{i : c_i = c} \omega_i , \qquad
#    \omega_i \propto e^{-\lVert Ax_i - y\rVert^2 / (2\sigma^2)} . $$ (eq-brute)

# %%
noise = 0.1
op = bicubic_downsampling((1, 64, 64), 16, GaussianNoise(noise))
y = op(few, generator=generator_from(1))
many, factors = plates.sample(torch.arange(4000), seed=0)
posterior = label_posterior(
    op, y, many, factors.character, sigma=noise, classes=36
)
restored = invert(gan, op, y, 3, 60, gan_std, noise)
reader = load_pretrained("classifier_plates")
with torch.no_grad():
    sure, read = reader(restored.x).exp().max(1)


# %% tags=["hide-input"]
def spell(row):
    """The three most probable characters of a row of probabilities."""
    best = row.topk(3)
    return ", ".join(
        f"{plates.CHARACTERS[c]} {p:.2f}"
        for p, c in zip(best.values, best.indices, strict=True)
    )


shown = torch.cat(
    [
        few,
        torch.nn.functional.interpolate(y.clamp(0, 1), (64, 64)),
        restored.x,
    ]
)
words = [f"truth: {plates.CHARACTERS[c]}" for c in letters.character[:4]]
words += [spell(row) for row in posterior.probabilities]
words += [
    f"reads {plates.CHARACTERS[c]}, {p:.2f} sure"
    for p, c in zip(sure, read, strict=True)
]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four plates (top); the 16 numbers that are left of them, with the three most probable characters by brute force (middle); and what the inverted GAN draws, with what it reads as (bottom).", "name": "fig-reading"}, "image": {"alt": "Four plates V, T, 6, X; four mosaics of 4 by 4 grey squares with probabilities of characters below; four plates with soft, uneven strokes that read V, 8, R and G."}}
show_images(
    shown,
    captions=words,
    columns=4,
    rows=["truth", "measured", "inverted GAN"],
)

# %% [markdown]
# Over 100 plates, with 64,000 draws ({glue:text}`effective_draws:.0f` of them
# count, in the median: $1/\sum \omega_i^2$):

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        "bayes": "posterior by brute force",
        "reader": "reader, shown y itself",
        "gan": "reader, shown the inverted GAN",
        "compact": "reader, shown the inverted VAE",
    },
    {
        "reading_sure": "how sure",
        "reading_right": "how often right",
        "reading_granted": "its probability given y",
    },
    "{column}_{row}",
    fmt=".2f",
)

# %% tags=["nbval-check-output"]
for key in ("bayes", "gan", "compact"):
    right = results[f"reading_right_{key}"]
    count = round(right.value * right.n)
    low, high = proportion_interval(count, right.n)
    print(f"{key}: {count} of {right.n} right, {low:.2f} to {high:.2f}")
    certain = results[f"reading_sure_{key}"].value
    if key == "bayes":
        assert low < certain < high  # its confidence is in the interval
    else:
        assert high < 0.5 < certain  # confident, and mostly wrong

# %% [markdown]
# The numbers printed are $95\,\%$ intervals of "how often right".
# That of the posterior contains its confidence,
# {glue:text}`reading_sure_bayes:.2f`. The inverted GAN is read with a
# confidence of {glue:text}`reading_sure_gan:.2f` and is right in
# {glue:text}`reading_right_gan:.2f` of the cases, the inverted VAE with
# {glue:text}`reading_sure_compact:.2f` and in
# {glue:text}`reading_right_compact:.2f`. A restored plate is read with
# confidence and is wrong most of the time: it shows *one* possible original,
# and nothing in it says how probable that one is. This is the
# **hallucination** of generative restoration. One can ask instead for the set
# of images that explain $y$. The conditional GAN can be asked that way
# already.
# Take each character in turn, and look for the plate that explains the data
# best:


# %%
def explain(character):
    """The plate with this character that explains the first mosaic best."""
    fixed = Pushforward(
        lambda z: told.decode(z, character.expand(len(z))).mean, (64,)
    )
    return map_z(
        fixed,
        op,
        y[:1],
        sigma=noise,
        starts=Starts(2, "prior"),
        optimiser=LBFGS(max_iter=50),
        generator=generator_from(0),
    ).x


likely = posterior.probabilities[0].topk(8).indices
stories = torch.cat([explain(character) for character in likely])
residual = (op.A(stories) - y[:1]).square().mean((1, 2, 3)).sqrt()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Eight characters that explain the first mosaic, each drawn by the conditional GAN so as to explain it best, with its posterior probability and its residual in units of the noise.", "name": "fig-stories"}, "image": {"alt": "Eight plates with the characters Y, 4, A, V, N, M, W and U, most of them readable, on light grey."}}
show_images(
    stories,
    captions=[
        f"{plates.CHARACTERS[c]} {posterior.probabilities[0, c]:.2f}, "
        f"{r / noise:.1f} σ"
        for c, r in zip(likely, residual, strict=True)
    ],
    columns=4,
)

# %% [markdown]
# The chapters to come draw such sets as *samples of the posterior*.
#
# ## The same in deepinv
#
# No inversion of a generator is in deepinv yet, but the exact x-step is: it is
# the `prox_l2` of its physics, under the same name as here.
#
# ```python
# import deepinv
#
# x = plates.sample(torch.arange(1), seed=2)[0]
# mask = (torch.rand(1, 64, 64) < 0.5).float()
# generated, y = 0.9 * x + 0.05, mask * x
# theirs = deepinv.physics.Inpainting((1, 64, 64), mask=mask)
# ours = Inpainting(mask)
# found = theirs.prox_l2(generated, y, 25.0)
# gap = (found - ours.prox_l2(generated, y, 25.0)).abs().max()
# ```
#
# ## Go further
#
# * `course train gan_plates64` trains the GAN again; `--data` and `--root`
#   take your own images. `course_lib.training.recipes.gans` is its loss.
# * {cite:t}`bora2017compressed` prove the theorem: replace $G$ by the
#   convolutional VAE in {numref}`fig-srec` and explain what you find.
# * Why is the compact VAE ahead of the GAN at 100 measurements, although both
#   are about as far from the images in {numref}`fig-inverted`?
