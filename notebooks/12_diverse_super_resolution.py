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
# # Many answers to one question
#
# **You will see** sixteen portraits that shrink to one and the same mosaic of
# grey squares, drawn in a second from a prior that was never trained for
# super-resolution; how a VAE becomes a hierarchy of latents; when such
# samples may be believed, and how much.
#
# **You need** {doc}`chapter 6 <06_autoencoders>` (VAEs, rates in nats) and
# {doc}`chapter 7 <07_inversion>` (a crisp image may be wrong, and does not
# say so).

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import plates, portraits
from course_lib.exercises import (
    check_bins,
    check_group_price,
    check_projection,
)
from course_lib.experiments.diverse_super_resolution import (
    FACTORS,
    SWEEP,
    last_groups,
)
from course_lib.inference import (
    consistency_projection,
    latent_divergence,
    super_resolve,
)
from course_lib.metrics import lr_psnr, psnr
from course_lib.models import load_pretrained
from course_lib.operators import (
    GaussianNoise,
    bicubic_downsampling,
    central_hole,
)
from course_lib.plotting import (
    compare,
    plot_bars,
    plot_curves,
    show_images,
)
from course_lib.results import load_results
from course_lib.rng import generator_from

# %% tags=["remove-input"]
budget_card("12_diverse_super_resolution")

# %% tags=["remove-cell"]
results = load_results("12_diverse_super_resolution")
results.glue()

# %% [markdown]
# Four pixels a side, where there were sixty-four: what was the face? There is no answer, there are
# many, and a method that returns one of them has chosen for us. The average
# of all of them, what a network trained on squared error returns, is none of
# them. So let us *draw* from them.
#
# ## From one vector to a hierarchy
#
# The compact VAE of chapter 6 has one vector of latents for the whole image:
# its samples hold together, and are soft. Its convolutional sister has a map
# of latents: sharp reconstructions, and samples that do not hold together,
# because its prior knows nothing of how the parts belong. A **hierarchy** has
# both. Latents come in groups $z_0, z_1, \dots, z_{L-1}$, from the coarsest
# to the finest, and each knows those before it:
#
# $$ \begin{aligned}
#    p(x, z) &= p(x \mid z) \prod_{l} p(z_l \mid z_{<l}) , \\
#    q(z \mid x) &= \prod_{l} q(z_l \mid z_{<l}, x) ,
#    \end{aligned} $$ (eq-hierarchy)
#
# all of the factors Gaussian with diagonal covariance. Both products run down
# the same way {cite:p}`sonderby2016ladder,kingma2016improving`: a stack of
# maps is refined from $1\times1$ to the full resolution, at each group the
# prior reads the maps, the posterior reads the maps and the image, a draw of
# $z_l$ is written into the maps. {cite:t}`child2021very` made it deep enough
# to draw faces of $256\times256$ pixels, with 66 groups.
#
# The bound of chapter 6 becomes a sum by the chain rule of divergences:
#
# $$ \begin{aligned}
#    \log p(x) \ge{}& \mathbb E_q \log p(x \mid z) \\
#    &- \sum_{l} \mathbb E_{q(z_{<l} \mid x)}
#    \mathrm{KL}\bigl(q(z_l \mid z_{<l}, x) \,\Vert\, p(z_l \mid z_{<l})\bigr).
#    \end{aligned} $$ (eq-hierarchy-elbo)
#
# :::{exercise} The price of a group
# :label: ex-price
#
# Write the divergence in {eq}`eq-hierarchy-elbo` for one group: means and log
# standard deviations of $q$ and of $p$, each `(B, d, s, s)`; in nats, one
# number for each image.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def group_price(mean_q, log_std_q, mean_p, log_std_p):
    ### BEGIN SOLUTION
    square = (2 * log_std_q).exp() + (mean_q - mean_p) ** 2
    nats = log_std_p - log_std_q + square / (2 * (2 * log_std_p).exp()) - 0.5
    return nats.flatten(1).sum(1)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_group_price(group_price)

# %% [markdown]
# Ours is small: ten groups of a few numbers at $1\times1$, which begin as
# the vector of the compact VAE, then two of $8\times8$ and one of
# $16\times16$.

# %%
hvae = load_pretrained("hvae_portraits64")
x = portraits.sample(torch.arange(8), seed=2)[0]
with torch.no_grad():
    encoded = hvae.encode(x, generator=generator_from(0))
print("sides:", hvae.sides)
print("latents:", sum(z[0].numel() for z in encoded.latents))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Portraits (top row), their reconstructions (second), and samples of the prior at temperature 1 (third) and 0.7 (fourth): all standard deviations of the prior are multiplied by it.", "name": "fig-hvae"}, "image": {"alt": "Eight puppet portraits, nearly the same portraits again, and two rows of invented portraits."}}
with torch.no_grad():
    rows = [x, hvae.reconstruct(x)]
    rows += [
        hvae.sample(8, temperature, generator=generator_from(4))
        for temperature in (1.0, 0.7)
    ]
show_images(torch.cat(rows), columns=8)

# %% [markdown]
# On held-out images its bound beats that of the compact VAE, out of which it
# grew, by {glue:text}`gain_portraits:.2f` nats per dimension on portraits and
# {glue:text}`gain_plates:.2f` on plates. Two grains of salt. Part of the gain
# is not the hierarchy's: it has a noise level for each pixel, and the flat
# ones have one for all. And on plates the convolutional VAE, whose samples are
# no plates, has a bound about as good: a likelihood and good samples are two
# things.

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {
        f"{kind}_{world}": f"{words}, {world}"
        for world in ("portraits", "plates")
        for kind, words in {
            "hvae": "hierarchy",
            "flat": "compact VAE",
            "conv": "convolutional VAE",
        }.items()
    },
    {
        "elbo": "bound (nats / dimension)",
        "rate": "rate (nats)",
        "reconstruction": "PSNR (dB)",
    },
    "{column}_{row}",
    fmt=".2f",
)

# %% [markdown]
# ## Where the information sits
#
# A hierarchy that is left alone stores nearly everything in its finest
# latents: they lie next to the pixels, learn fastest, and what they hold need
# not be held above. Then the coarse groups are idle, and there is nothing to
# steer. Three habits of the training prevent it: fine groups open late; in
# four of ten images the finest, and in a quarter of them all but the vector
# stay shut for good, so that the coarse ones must always do as well as they
# can on their own (a nested dropout {cite:p}`rippel2014learning`); and the
# noise level that the latents are trained with has a floor, below which detail
# is grain and not worth a nat.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the groups tell of a portrait, mean of 512 held-out ones, in nats.", "name": "fig-rates"}, "image": {"alt": "Three bars with the rates of the groups at 1 by 1, 8 by 8 and 16 by 16."}}
plot_bars(
    {
        f"{side} x {side}": results[f"rate_{side}_hvae_portraits"].value
        for side in sorted(set(hvae.sides))
    },
    "rate (nats)",
    fmt=".0f",
)

# %% [markdown]
# Look at it from the other end. Fix the first $k$ groups of a portrait, and
# draw the others.

# %%
counts = (4, 10, 12)
shared = {}
for k in counts:
    given = [z.repeat(6, 1, 1, 1) for z in encoded.latents[:k]]
    with torch.no_grad():
        drawn = hvae.sample(48, 1.0, given, generator=generator_from(2))
    shared[k] = drawn.unflatten(0, (6, 8))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One portrait (left), and draws that share its first 4, 10 and 12 groups (rows). On the right the standard deviation of each pixel over the draws, times five.", "name": "fig-shared"}, "image": {"alt": "Three rows of portraits. In the first they differ in everything, in the last only in small details; the maps of deviation become darker from row to row."}}
cells = []
for drawn in shared.values():
    spread = 5 * drawn[:, :1].std(0)
    cells += [x[:1], *drawn[:5, :1], spread]
show_images(torch.cat(cells), columns=7)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Standard deviation of pixels among draws that share the first k groups, root mean square over the image, mean over 32 held-out images.", "name": "fig-shared-curve"}, "image": {"alt": "Two falling curves, for portraits and for plates, steep over the groups at 1 by 1 and nearly flat after them."}}
ks = (0, *last_groups(hvae))
plot_curves(
    ks,
    {
        world: [results[f"shared_{world}_{k}"].value for k in ks]
        for world in ("portraits", "plates")
    },
    "groups that are shared, k",
    "standard deviation",
)

# %% [markdown]
# How good is such a prior? Of samples of the prior of plates the reader of
# chapter 6 reads {glue:text}`prior_readable:.0%` with a confidence above 0.9,
# and {glue:text}`prior_characters:.0f` of the 36 characters are among them.
# With the vector of a real plate and all else drawn it is
# {glue:text}`prior_readable_given_vector:.0%`: what is amiss is the distribution of the
# vector, in whose Gaussian steps there is room between the characters. An
# encoder that tells the vector from a measurement does not need it, and
# this is what comes next.
#
# ## Which distribution for a pixel?
#
# Here $p(x \mid z)$ is Gaussian, with a deviation for each pixel that is read
# from the maps: a *density*, and pixels are one of 256 *levels*. The published
# model has probabilities of levels: a mixture of logistic densities, each
# integrated over the bin around a level {cite:p}`salimans2017pixelcnn`. They
# must sum to one, and in the released code for 5 bits they do not
# ({doc}`erratum R1 </book/errata>`): bins and levels differ in width.
#
# :::{exercise} Bins that sum to one
# :label: ex-bins
#
# For levels evenly spaced on $[-1, 1]$, ends included, write the
# probabilities of a logistic distribution, with distribution function
# $t \mapsto 1 / (1 + e^{-(t - \mu)/s})$.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def bins(mean, scale, levels):
    ### BEGIN SOLUTION
    between = torch.linspace(-1, 1, 2 * levels - 1, dtype=torch.float64)[1::2]
    up_to = torch.sigmoid((between - mean) / scale)
    zero, one = torch.zeros(1).double(), torch.ones(1).double()
    return torch.cat([up_to, one]) - torch.cat([zero, up_to])
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_bins(bins)

# %% [markdown]
# ## An encoder of measurements
#
# Now $y = Ax$, a portrait at a quarter, an eighth or a sixteenth of its
# resolution. {cite:t}`prost2024efficient` leave the prior as it is, and train a
# second encoder, $q_\psi(z_{<k} \mid y)$, for its first $k$ groups. The others
# are drawn from the prior:
#
# $$ p(x \mid y) \approx \int p(x \mid z_{<k})\, q_\psi(z_{<k} \mid y)\,
#    dz_{<k} . $$ (eq-sr)
#
# The loss asks the new encoder to say what the old one says, who sees the
# whole image, on the same maps:
#
# $$ \mathcal L(\psi) = \mathbb E_{x}\, \sum_{l<k}
#    \mathbb E_{q(z_{<l} \mid x)} \mathrm{KL}\bigl(q(z_l \mid z_{<l}, x)
#    \,\Vert\, q_\psi(z_l \mid z_{<l}, y)\bigr) . $$ (eq-encoder-loss)
#
# Its minimum is not zero. If $q_\psi$ is as good as can be, what is left is
# $I(z_{<k}; x \mid y)$, the nats about the latents that are in $x$ and not in
# $y$: exactly what we want to be *drawn*, and not guessed.

# %%
encoders, small, nats = {}, {}, {}
for s in FACTORS:
    encoder = load_pretrained(f"encoder_portraits64_x{s}")
    y = bicubic_downsampling((1, 64, 64), s).A(x)
    with torch.no_grad():
        nats[s] = latent_divergence(
            hvae, encoder, x, y, generator=generator_from(0)
        )
    encoders[s], small[s] = encoder, y
    print(f"x{s}: k = {encoder.k}, {nats[s].sum(1).mean():.0f} nats")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Nats of each group about a portrait, mean of eight: what the image says beyond the prior (rate), and what of it the measurement leaves open.", "name": "fig-open"}, "image": {"alt": "Four curves over the number of the group. The rate is the highest; the curves of x16, x8 and x4 lie below it in this order, and the last two groups of 8 by 8 stand out."}}
told = max(encoder.k for encoder in encoders.values())
nothing = torch.full((told,), float("nan"))
curves = {"rate": encoded.rates[:, :told].mean(0)}
for s in reversed(FACTORS):
    left = nats[s].mean(0).detach()
    curves[f"open at x{s}"] = torch.cat([left, nothing])[:told]
plot_curves(range(told), curves, "group", "nats", log="y")

# %% [markdown]
# Most nats belong to the two groups of $8\times8$. At x16 these are not told
# but drawn from the prior. The first two groups have nothing to say: training
# left them idle, as happens to a latent on which little depends. On
# {glue:text}`images_divergence:.0f` held-out portraits
# {glue:text}`divergence_portraits64_x4:.0f`,
# {glue:text}`divergence_portraits64_x8:.0f` and
# {glue:text}`divergence_portraits64_x16:.0f` nats are left. An encoder takes
# {glue:text}`steps_encoder:.0f` steps, here
# {glue:text}`minutes_encoder_portraits64_x4:.0f`,
# {glue:text}`minutes_encoder_portraits64_x8:.0f` and
# {glue:text}`minutes_encoder_portraits64_x16:.0f` minutes on one core that
# other work shared; the prior is trained once and for all.

# %%
drawn = {
    s: super_resolve(
        hvae, encoder, small[s], 16, 0.8, generator=generator_from(0)
    )
    for s, encoder in encoders.items()
}


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two portraits at 1/16 of their resolution (left), seven draws for each, and the truth (right). Every draw shrinks to the very mosaic on the left.", "name": "fig-draws16"}, "image": {"alt": "Two mosaics of 4 by 4 grey squares, and for each a row of different portraits with the same light and dark areas."}}
def magnify(y):
    return torch.nn.functional.interpolate(y, (64, 64))


cells = []
for i in (1, 4):
    cells += [magnify(small[16][i : i + 1]), *drawn[16][:7, i : i + 1]]
    cells += [x[i : i + 1]]
show_images(torch.cat(cells), columns=9)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same face at 1/4, 1/8 and 1/16 of its resolution, with draws, and (right) the standard deviation over sixteen draws, times five.", "name": "fig-three-factors"}, "image": {"alt": "Three rows: with fewer pixels the portraits drawn differ more, and the map of deviation becomes brighter."}}
cells = []
for s in FACTORS:
    cells += [magnify(small[s][1:2]), *drawn[s][:5, 1:2]]
    cells += [5 * drawn[s][:, 1:2].std(0)]
show_images(torch.cat(cells), columns=7)

# %% tags=["hide-input"]
compare(
    drawn[8][0, 3],
    drawn[8][1, 3],
    ("one draw", "another"),
    alt="Two portraits of the same head: eyes, nose and mouth differ.",
    caption="Two answers at x8. At 8 x 8 pixels they are one image.",
)

# %% [markdown]
# Sixteen solutions take {glue:text}`seconds_sixteen:.1f` seconds.
#
# ## How many groups?
#
# Equation {eq}`eq-sr` drops $y$ once $z_{<k}$ is drawn. That is exact only if
# $z_{<k}$ determines $Ax$. How far it is from that can be measured without
# any encoder: two images drawn with the same $z_{<k}$, independent otherwise,
#
# $$ U_k = \mathbb E\, \lVert Ax - Ax' \rVert / \sqrt m . $$ (eq-ambiguity)
#
# :::{prf:proposition}
# :label: prop-consistency
#
# If $q_\psi(z_{<k} \mid y) = p(z_{<k} \mid y)$, the expected consistency of
# the draws, $C_E(k) = \mathbb E\, \lVert Ax' - y \rVert / \sqrt m$, equals
# $U_k$.
# :::
#
# For the pair $(z_{<k}, y)$ has one distribution whether $y$ is measured first and
# $z_{<k}$ drawn by $q_\psi$, or $z_{<k}$ is drawn first, then $x$, then
# $y = Ax$. In a linear-Gaussian world the optimal encoder is known in closed
# form. There, for $k = 1$ of two groups,
# $C_E = $ {glue:text}`linear_ce_1_optimal:.4f` and
# $U_1 = $ {glue:text}`linear_u_1:.4f`; for $k = 2$
# {glue:text}`linear_ce_2_optimal:.4f` and {glue:text}`linear_u_2:.4f`. An
# encoder whose deviations are half as large again pays with
# {glue:text}`linear_ce_2_unsure:.4f`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What is still open of the measurement when the first k groups are known, in grey levels of 255; these are drawn from the posteriors of held-out portraits. Markers: the expected consistency of the trained encoders at their k.", "name": "fig-ambiguity"}, "image": {"alt": "Three falling curves, for factors 4, 8 and 16; a marker somewhat above each curve."}}
plot_curves(
    ks,
    {
        f"U at x{s}": [results[f"u_x{s}_{k}"].value for k in ks]
        for s in FACTORS
    },
    "number of groups k",
    "grey levels",
    log="y",
    marks={
        f"C at x{s}": (
            results[f"k_x{s}"].value,
            results[f"ce_x{s}"].value,
        )
        for s in FACTORS
    },
)

# %% [markdown]
# The networks are not optimal: $C_E$ is {glue:text}`ce_over_u_x4:.2f`,
# {glue:text}`ce_over_u_x8:.2f` and {glue:text}`ce_over_u_x16:.2f` times $U_k$.

# %% tags=["remove-cell"]
for s in FACTORS:
    assert results[f"ce_over_u_x{s}"].value > 1

# %% [markdown]
# ## Consistent after all
#
# What is left can be taken away at once. Among all images whose measurement
# is $y$, take the one nearest to the draw.
#
# :::{exercise} The projection
# :label: ex-project
#
# Write it with $A$ and $A^+$, for a matrix $A$ of full row rank.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def project(x, y, A, A_dagger):
    ### BEGIN SOLUTION
    return x - A_dagger(A(x) - y)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_projection(project)

# %% [markdown]
# The step $x' - x$ is orthogonal to the whole set of consistent images. The
# truth $u$ lies in it. So by Pythagoras
#
# $$ \lVert x' - u\rVert^2 = \lVert x - u\rVert^2 - \lVert x' - x\rVert^2 , $$ (eq-pythagoras)
#
# and the projection never moves away from a truth that it does not know
# {cite:p}`bahat2020explorable`. For subsampling with any prefilter $A^+$ is a
# division on the small Fourier grid (chapter 1).

# %% tags=["nbval-check-output"]
op = bicubic_downsampling((1, 64, 64), 8)
free = super_resolve(
    hvae, encoders[8], small[8], 4, 0.8, False, generator=generator_from(0)
)
bound = consistency_projection(op, free, small[8])
gain = psnr(bound[0], x) - psnr(free[0], x)
print("smallest gain in dB is positive:", bool((gain > 0).all()))
floor = lr_psnr(bound[0], small[8], op.A).min()
print("consistent to more than 60 dB:", bool(floor > 60))

# %% tags=["hide-input"]
results.table(
    {
        f"hvae_x{s}_t{t}{end}": f"x{s}, T = {t}{words}"
        for s in FACTORS
        for t in ("0.1", "0.8")
        for end, words in (("", ""), ("_cons", ", projected"))
    },
    {
        "psnr": "PSNR (dB)",
        "ssim": "SSIM",
        "lr_psnr": "LR-PSNR (dB)",
        "naturalness": "naturalness",
        "apd": "diversity (1e-4)",
    },
    "{column}_{row}",
    fmt=".2f",
)

# %% tags=["remove-cell"]
for s in FACTORS:
    for t in ("0.1", "0.8"):
        assert results[f"lost_hvae_x{s}_t{t}"].value == 0
        assert results[f"lr_psnr_hvae_x{s}_t{t}_cons"].value > 60
    assert (
        results[f"apd_hvae_x{s}_t0.8_cons"].value
        > results[f"apd_hvae_x{s}_t0.1_cons"].value
        > 0
    )

# %% [markdown]
# Means over {glue:text}`images_compared:.0f` held-out portraits. LR-PSNR is the
# PSNR of $Ax'$ against $y$; diversity the mean square difference of two draws;
# naturalness a distance in local statistics from photographs, the lower the
# better. $T$, the *temperature*, multiplies the standard deviations of the
# prior in the groups from $k$ on. Not one of all the draws lost PSNR by the
# projection, and its gain, {glue:text}`gain_hvae_x4_t0.8:.2f` dB at x4 and
# {glue:text}`gain_hvae_x16_t0.8:.2f` dB at x16, is what {eq}`eq-pythagoras`
# says, to {glue:text}`pythagoras_hvae_x8_t0.8:.0e` of the error.
#
# ## Like for like
#
# The table of the source sets a hierarchy after its projection beside a
# conditional flow and cubic interpolation before theirs
# ({doc}`erratum E38 </book/errata>`). Consistency then measures the
# projection: white noise would have as much. Here all methods are projected,
# and the LR-PSNR before it is a column of its own. The conditional flow
# {cite:p}`liang2021hierarchical` is trained on pairs, end to end, and so is
# the regression network {cite:p}`ledig2017photo`, on squared error; the
# hierarchy saw pairs in its encoder only.

# %% tags=["hide-input"]
methods = {}
for s in FACTORS:
    methods |= {
        f"bicubic_x{s}_cons": f"x{s}, bicubic",
        f"srresnet_x{s}_cons": f"x{s}, regression",
        f"flow_x{s}_t0.8_cons": f"x{s}, flow, T = 0.8",
        f"hvae_x{s}_t0.8_cons": f"x{s}, hierarchy, T = 0.8",
    }
results.table(
    methods,
    {
        "lr_psnr_before": "LR-PSNR before",
        "psnr": "PSNR (dB)",
        "naturalness": "naturalness",
        "apd": "diversity (1e-4)",
    },
    "{column}_{row}",
    fmt=".2f",
    missing="0",
)

# %% [markdown]
# The true portraits have a naturalness of
# {glue:text}`naturalness_truth:.2f`: rendered, and grainy, they are no
# photographs either, so read the score as a rough ranking. Bicubic images are
# far from natural, hierarchy and flow alike. By itself the flow is nearer to
# the measurement.
#
# One number should surprise you. A draw from the very posterior has twice the
# squared error of the posterior's mean, 3 dB, and squared error is what the
# regression was trained on: it ought to win in PSNR. At x16 it does; at x4 and
# x8 it loses. It has seen pairs for a few minutes, and learned no more
# of portraits than these could teach. The hierarchy had learned portraits
# before.

# %% tags=["remove-cell"]
lead = {
    s: results[f"psnr_hvae_x{s}_t0.8_cons"].value
    - results[f"psnr_srresnet_x{s}_cons"].value
    for s in FACTORS
}
assert min(lead[4], lead[8]) > 0 > lead[16]
for s in FACTORS:
    assert (
        results[f"naturalness_hvae_x{s}_t0.8_cons"].value
        < results[f"naturalness_bicubic_x{s}_cons"].value
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Diversity of projected draws against the temperature of the groups from k on, for held-out portraits. At temperature 0 the first k groups still differ: they are drawn as the encoder says.", "name": "fig-sweep"}, "image": {"alt": "Three rising curves, one above the other: factor 16 at the top."}}
plot_curves(
    SWEEP,
    {
        f"x{s}": [results[f"sweep_apd_x{s}_{t:g}"].value for t in SWEEP]
        for s in FACTORS
    },
    "temperature T",
    "diversity (1e-4)",
)

# %% [markdown]
# ## Are they the *right* answers?
#
# Diverse and consistent are not yet *probable*. On portraits nobody knows the
# posterior. On plates we do, in two ways. Brute force weighs 64,000 plates of
# the world by how well they explain $y$ (chapter 7): exact in the limit, and
# worth what the effective number of its draws is worth, which is
# {glue:text}`read_effective_draws_x16:.0f` at x16 with noise of 0.1, and
# {glue:text}`read_effective_draws_x8:.1f` at x8 with noise of 0.05: there, one
# plate decides. The reader of chapter 6 was trained to tell $p(c \mid y)$
# at every resolution and noise. Where brute force can be trusted the two
# differ by {glue:text}`read_reader_brute_x16:.2f` in total variation, so the
# reader is our reference at both. With noise no projection is made: it would
# copy the noise.

# %%
prior = load_pretrained("hvae_plates64")
reader = load_pretrained("classifier_plates")
test, factors = plates.sample(torch.tensor([1, 4, 7]), seed=2)
stories, told, says = {}, {}, {}
for s, sigma in ((8, 0.05), (16, 0.1)):
    op = bicubic_downsampling((1, 64, 64), s, GaussianNoise(sigma))
    y = op(test, generator=generator_from(1))
    encoder = load_pretrained(f"encoder_plates64_x{s}")
    images = super_resolve(
        prior, encoder, y, 32, consistent=False, generator=generator_from(0)
    )
    with torch.no_grad():
        told[s] = reader(images.flatten(0, 1)).argmax(1).view(32, 3)
        says[s] = reader(y, sigma).exp()
    stories[s] = torch.cat(
        [magnify(y.clamp(0, 1))[None], images[:6], test[None]]
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Plates at 1/8 of their resolution with noise of 0.05 (upper rows) and at 1/16 with noise of 0.1 (lower rows): the measurement, six draws with what they read as, and the truth (right).", "name": "fig-plates"}, "image": {"alt": "Six rows, each with a mosaic, six drawn plates and the true one. For one mosaic several characters are drawn, the more at 1/16."}}
cells, words = [], []
for s, images in stories.items():
    for i in range(3):
        cells.append(images[:, i])
        words += ["y", *(plates.CHARACTERS[c] for c in told[s][:6, i])]
        words.append(plates.CHARACTERS[factors.character[i]])
show_images(torch.cat(cells), captions=words, columns=8)

# %% [markdown]
# The five most frequent ones for each, among 32 draws and by the reader:

# %% tags=["hide-input"]
for s, characters in told.items():
    for i in range(3):
        drawn_share = torch.bincount(characters[:, i], minlength=36) / 32
        likely = (drawn_share + says[s][i]).topk(5).indices
        words = (
            f"{plates.CHARACTERS[c]} {drawn_share[c]:.2f}|{says[s][i, c]:.2f}"
            for c in likely
        )
        print(
            f"x{s}, truth {plates.CHARACTERS[factors.character[i]]}:",
            "  ".join(words),
        )

# %% tags=["hide-input"]
results.table(
    {"x8": "x8, noise 0.05", "x16": "x16, noise 0.1"},
    {
        "read_right": "true one drawn",
        "read_posterior_right": "p(true | y)",
        "read_distinct": "distinct of 16",
        "read_perfect_distinct": "of a perfect sampler",
        "read_distance": "distance to p",
        "read_distance_perfect": "of a perfect sampler",
    },
    "{column}_{row}",
    fmt=".2f",
)

# %% [markdown]
# Means over {glue:text}`images_read:.0f` held-out plates, 16 draws each. The
# distance is the total variation between the frequencies of the draws and
# $p(c \mid y)$; since 16 draws are few, even draws from $p$ itself have one.
# Calibrated draws would show a character in a share $f$ of the draws where it
# is true in a share $f$ of the cases:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Calibration of reading at x8: how much more often a character is the true one than is said. For draws this is its share among 16, for the reader its own probability. On the dashed line they could be taken at their word.", "name": "fig-at-their-word"}, "image": {"alt": "Two curves around a dashed line at zero, of draws and of the reader, less than a tenth away from it."}}
gaps = {
    label: [
        results[f"happened_{source}_x8_{p}"].value
        - results[f"stated_{source}_x8_{p}"].value
        for p in range(5)
    ]
    for label, source in (("draws", "drawn"), ("reader", "reader"))
}
fifths = [0.1, 0.3, 0.5, 0.7, 0.9]
plot_curves(
    fifths,
    gaps | {"calibrated": [0] * 5},
    "share of the draws, or probability (middle of a fifth)",
    "how much more often it is true",
    dashed=["calibrated"],
)

# %% [markdown]
# At x8 the draws can nearly be taken at their word: a character that is in
# {glue:text}`stated_drawn_x8_4:.0%` of the draws on average (the highest fifth)
# is the true one in {glue:text}`happened_drawn_x8_4:.0%` of
# {glue:text}`cases_drawn_x8_4:.0f` cases, and the reader's own probabilities are
# off by about as much. At x16 with so much noise nearly nothing is known: the
# true character has a probability of {glue:text}`read_posterior_right_x16:.2f`
# on average, is in {glue:text}`read_right_x16:.2f` of the draws, and hardly
# any share exceeds a fifth. Sixteen draws then come as close to $p(c \mid y)$
# as sixteen can, or nearly.
#
# What keeps the draws from it? {glue:text}`read_confident_x8:.0%` of the drawn
# plates at x8 and {glue:text}`read_confident_x16:.0%` at x16 can be read with a
# confidence above 0.9: the less the measurement says of the vector, the more
# often a draw falls between the characters. What a prior does not draw well,
# no encoder can make it draw.
#
# ## Not only super-resolution
#
# Nothing in {eq}`eq-sr` asks for a small image. Cut a square out of the face,
# and train the encoder for that:

# %%
cut = central_hole((1, 64, 64), 24)
seen = cut.A(x)
encoder = load_pretrained("encoder_portraits64_hole")
faces = super_resolve(
    hvae, encoder, seen, 6, 0.8, op=cut, generator=generator_from(0)
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A face without its middle (left), five draws, and the truth (right). The pixels that were seen are kept as they are.", "name": "fig-hole"}, "image": {"alt": "Two portraits with a black square, and completions with different eyes, glasses and mouths."}}
cells = []
for i in (1, 4):
    cells += [seen[i : i + 1], *faces[:5, i : i + 1], x[i : i + 1]]
show_images(torch.cat(cells), columns=7)

# %% [markdown]
# Inside the square one draw has {glue:text}`hole_psnr:.1f` dB, where its mean
# grey over the rest of the image would have {glue:text}`hole_psnr_grey:.1f`, and
# two draws differ by {glue:text}`hole_apd:.0f`$\cdot10^{-4}$ in the mean square.
#
# ## Go further
#
# - Train an encoder for another operator: a blur, or x8 with noise. A recipe
#   is ten lines (`training/recipes/measurement_encoders.py`).
# - `load_vdvae` reads the published weights of {cite:t}`child2021very` if you
#   have them; {eq}`eq-sr` then applies to faces of $256\times256$ pixels with
#   $k = 57$, $43$ and $21$ groups at x4, x8 and x16.
# - What would make the draws calibrated? A better prior, first of all. The
#   next part of the book has one.
