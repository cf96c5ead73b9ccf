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
# # Measuring a restoration
#
# **You will see** seven images with one and the same error of which no two
# look alike, why the best score belongs to a blurred image, a trade-off that
# no method escapes, and how to check an error bar.
#
# **You need** {doc}`chapter 3 <03_tychonov_wiener>` (the Wiener filter).

# %% tags=["hide-input"]
import math

import torch

from course_lib.book import budget_card
from course_lib.data import load_photo, load_photos
from course_lib.exact import stationary_posterior
from course_lib.exercises import (
    check_coverage,
    check_energy_score,
    check_equal_error,
)
from course_lib.experiments.measuring import equally_wrong
from course_lib.fourier import leave_one_out_spectrum, spectral_mean
from course_lib.metrics import (
    average_pairwise_distance,
    coverage_curve,
    energy_score,
    interval_coverage,
    mse,
    naturalness,
    psnr,
    random_feature_distance,
    ssim,
    ssim_factors,
)
from course_lib.operators import Denoising, GaussianNoise
from course_lib.plotting import compare, plot_curves, show_images
from course_lib.results import load_results

# %% tags=["remove-input"]
budget_card("05_measuring")

# %% tags=["remove-cell"]
results = load_results("05_measuring")
results.glue()

# %% [markdown]
# ## One error, seven looks
#
# The **mean square error** $\operatorname{MSE}(\hat x, x) = \frac1n
# \lVert\hat x - x\rVert^2$ and its logarithm,
# $\operatorname{PSNR} = -10\log_{10}\operatorname{MSE}$ dB for images in
# $[0, 1]$, see an image as a list of numbers. Take any direction $d$ and walk
# along $x + t d$ until the PSNR is 22 dB: a sphere full of images, equally
# wrong. (Shift, blur, contrast and blocks are blends with the original, as
# strong as 22 dB allow; the screen clips what leaves $[0, 1]$.)

# %%
x = load_photo("grace_hopper", 192)
wrong = equally_wrong(x)
print({name: round(psnr(u, x).item(), 6) for name, u in wrong.items()})

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Seven distortions of one photograph, all at 22 dB. SSIM, below each, at least tells some of them apart.", "name": "fig-equal"}, "image": {"alt": "Eight photographs of Grace Hopper: the original, too bright, too flat, noisy, with vertical stripes, shifted so that edges double, blurred, and made of blocks."}}
show_images(
    {"original": x} | wrong,
    captions=[""] + [f"SSIM {ssim(u, x).item():.3f}" for u in wrong.values()],
    columns=4,
)

# %% tags=["remove-cell"]
assert all(abs(psnr(u, x).item() - 22) < 1e-3 for u in wrong.values())

# %% [markdown]
# The same on 100 test photographs of BSDS500 {cite:p}`arbelaez2011contour`. The
# columns MS-SSIM, LPIPS and naturalness are explained further down; low LPIPS
# and low naturalness are good. The originals have a naturalness of
# {glue:text}`naturalness_original:.2f`.

# %% tags=["hide-input", "nbval-check-output"]
results.table(
    {name: name for name in wrong},
    {
        "psnr": "PSNR (dB)",
        "ssim": "SSIM",
        "ms_ssim": "MS-SSIM",
        "lpips": "LPIPS (AlexNet)",
        "naturalness": "naturalness",
    },
    "{column}_{row}",
    fmt=".2f",
)

# %% [markdown]
# :::{exercise} The same error for everyone
# :label: ex-equal
#
# Write the image $x + t d$, $t > 0$, whose PSNR is `level` dB.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def at_level(x, d, level):
    ### BEGIN SOLUTION
    target = 10 ** (-level / 20)  # the root mean square error
    return x + target / d.square().mean().sqrt() * d
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_equal_error(at_level)

# %% [markdown]
# ## Structure: three factors
#
# **SSIM** {cite:p}`wang2004ssim` compares small windows and multiplies three
# numbers: are the means equal, are the contrasts equal, do the patterns go
# together?
#
# $$ \operatorname{SSIM} =
#    \underbrace{\frac{2\mu_{\hat x}\mu_x + c_1}{\mu_{\hat x}^2+\mu_x^2+c_1}}_{\text{luminance}}
#    \cdot
#    \underbrace{\frac{2 s_{\hat x} s_x + c_2}{s_{\hat x}^2 + s_x^2 + c_2}}_{\text{contrast}}
#    \cdot
#    \underbrace{\frac{s_{\hat x x} + c_2/2}{s_{\hat x} s_x + c_2/2}}_{\text{structure}} .
# $$ (eq-ssim)
#
# with $c_1 = 0.01^2$, $c_2 = 0.03^2$ that keep dark and flat windows from
# dividing by zero. Equal errors, unequal factors:

# %%
shown = ("brightness", "contrast", "noise", "blur")
factors = {name: ssim_factors(wrong[name], x) for name in shown}
for name in shown:
    means = [factor.mean().item() for factor in factors[name]]
    print(
        f"{name:11s} luminance {means[0]:.2f}  contrast {means[1]:.2f}  "
        f"structure {means[2]:.2f}"
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the three factors lose (black: nothing, white: all) for four distortions of equal error. Brightness moves only the local means; pulling towards the global mean moves them too, and the contrast a little; noise ruins contrast and structure wherever the photograph is flat, and hides in its edges.", "name": "fig-factors"}, "image": {"alt": "Three rows of four maps: losses of luminance are grey in dark regions under brightness and contrast; losses of contrast and structure are black everywhere but bright in the flat regions under noise, and faint around edges under blur."}}
show_images(
    [1 - factors[name][k][0].clamp(0, 1) for k in range(3) for name in shown],
    list(shown) + [""] * 8,
    captions=[
        f"{label} {factors[name][k].mean().item():.2f}"
        for k, label in enumerate(("luminance", "contrast", "structure"))
        for name in shown
    ],
    columns=4,
)

# %% [markdown]
# **MS-SSIM** {cite:p}`wang2003multiscale` repeats this on five scales.
# **LPIPS** {cite:p}`zhang2018unreasonable` replaces the windows by the layers
# of a network that was trained to recognise things: features of both images,
# normalised to length one at each position, are subtracted, squared, weighted
# and averaged,
#
# $$ \operatorname{LPIPS}(\hat x, x) = \sum_\ell \frac{1}{H_\ell W_\ell}
#    \sum_{i,j}\sum_k \omega_{\ell k}\,
#    \bigl(\hat f^\ell_{ijk} - f^\ell_{ijk}\bigr)^2 . $$ (eq-lpips)
#
# (No square root, and the weights are not squared: see the
# {doc}`errata </book/errata>`.) The trained network is fetched once, by
# `course fetch perceptual`; the table above has what it says of the seven
# distortions. The formula alone can be tried offline, on a network with random
# weights, whose distances we do *not* call LPIPS:

# %%
for name in shown:
    d = random_feature_distance(wrong[name], x).item()
    print(f"{name:11s} distance of random features {d:.3f}")

# %% [markdown]
# **No-reference** metrics judge an image alone. Locally normalised brightness
# has a characteristic distribution in photographs, described by 36 numbers.
# BRISQUE {cite:p}`mittal2012brisque` maps them to a score learnt from people
# (`brisque`, after `course fetch perceptual`); our `naturalness` has
# the form of NIQE {cite:p}`mittal2013niqe`, the distance of the 36 numbers
# from those of pristine photographs.
#
# ## Why PSNR prefers blur
#
# :::{prf:theorem} The least expected square error
# :label: thm-mmse
#
# Among all estimates $g(y)$, the posterior mean $m(y) = \mathbb E[x \mid y]$
# has the least expected square error, and
# $\mathbb E\lVert x - g(y)\rVert^2 = \mathbb E\lVert x - m(y)\rVert^2 +
# \mathbb E\lVert m(y) - g(y)\rVert^2$.
# :::
#
# :::{prf:proof}
# Given $y$, $\mathbb E\langle x - m, m - g\rangle = \langle \mathbb E[x
# \mid y] - m, m - g\rangle = 0$: the cross term vanishes.
# :::
#
# The mean of many sharp answers is not sharp. Suppose all we know is that a
# photograph moved left or right by some pixels, nobody knows how far: each
# shifted copy is sharp and possible, and the average of them all wins.

# %%
x = load_photo("camera", 192)
positions = torch.stack([x.roll(k, -1) for k in range(-4, 5)])
average = positions.mean(0)
truth = positions[:, 0]
guess = torch.stack([mse(positions[4], t[None]) for t in truth]).mean()
mean = torch.stack([mse(average, t[None]) for t in truth]).mean()
print(f"expected MSE of one sharp answer {guess:.4f}, of the mean {mean:.4f}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Nine positions of one photograph are equally likely. Any one of them is a sharp answer; their mean is blurred and has a much smaller expected square error.", "name": "fig-mean"}, "image": {"alt": "Three photographs of the cameraman: two sharp ones, shifted against each other, and their horizontal blur."}}
show_images(
    {
        "one possible answer": positions[0],
        "another": positions[-1],
        "the mean of all": average,
    },
    zoom=(20, 70, 48, 48),
)

# %% tags=["remove-cell"]
assert mean < 0.7 * guess

# %% [markdown]
# ## Perception against distortion
#
# So there are two wishes: be close to the truth, and look like a photograph.
# {cite:t}`blau2018perception` proved that they compete: below some error, the
# estimates cannot have the distribution of photographs. In a Gaussian world
# everything is a formula. Let $x$ be stationary with spectrum $S$ and
# $y = x + w$. The posterior is Gaussian, with the Wiener estimate $m$ as its
# mean and the spectrum $V = n\sigma^2 S / (S + n\sigma^2)$ around it.
# Two ways lead from $m$ to images with the right spectrum:
#
# * **Sampling**, $x_t = m + t\,e$ with $e \sim \mathcal N(0, V)$. The error is
#   $(1 + t^2)$ times that of $m$: in this model a posterior sample, $t = 1$,
#   costs 3 dB. Its spectrum is $S - V + t^2 V$.
# * **Stretching**: multiply each mode of $m$ by a number between 1 and
#   $\sqrt{S/(S-V)}$. No new detail is drawn, the old one is made as strong as
#   it should be. In this model no way is cheaper
#   {cite:p}`freirich2021theory`.
#
# The distance of two such Gaussians (Wasserstein) is
# $\bigl(\operatorname{mean}_\xi (\sqrt{S_1} - \sqrt{S_2})^2 / n
# \bigr)^{1/2}$. A sample's 3 dB are therefore the price of showing
# *uncertainty*, not the price of looks alone.

# %%
images = load_photos(size=192).images
sigma = 0.1
op = Denoising((1, 192, 192), GaussianNoise(sigma))
y = op(images, generator=torch.Generator().manual_seed(3))
S = leave_one_out_spectrum(images)
posterior = stationary_posterior(y, sigma, S)
m, V = posterior.mean, posterior.variance
noise = posterior.deviations(40, torch.Generator().manual_seed(4))
ts = torch.linspace(0, 1, 11)


def distance(spectrum):
    gap = (spectrum.sqrt() - S.sqrt()).square()
    return spectral_mean(gap, (192, 192)).mean().sqrt() / 192


far = distance(S - V)
closeness = torch.stack([distance(S - V + t**2 * V) / far for t in ts])
least = mse(m, images).mean()
sampling = torch.stack([mse(m + t * noise[0], images).mean() for t in ts])
shares = 1 - closeness  # how far to stretch for the same distance
stretching = torch.stack(
    [mse(posterior.stretched(s.item()), images).mean() for s in shares]
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The trade-off on the bundled photographs: error (measured, over its least value) against distance to the distribution of images (formula, over that of the mean). Coming closer to the look of photographs costs error, more by sampling than by stretching; the corner below left is empty.", "name": "fig-tradeoff"}, "image": {"alt": "Two curves that start together at distance 1 and error 1: towards distance 0 the error by sampling rises to almost twice the least, the error by stretching to about 1.2 times."}}
plot_curves(
    closeness,
    {"sampling": sampling / least, "stretching": stretching / least},
    "distance to the distribution of images",
    "error",
)

# %% tags=["remove-cell"]
assert closeness[-1] < 1e-3
assert 1.05 < stretching[-1] / least < 1.4 < sampling[-1] / least < 2.1

# %%
for t in (0, 0.5, 0.75, 1, 1.4):
    score = naturalness(m + t * noise[0]).mean().item()
    print(f"t = {t:4}: naturalness {score:.2f}")
whole_way = naturalness(posterior.stretched(1.0)).mean().item()
print(f"stretched: {whole_way:.2f}")

# %% [markdown]
# On photographs, which are not Gaussian, `naturalness` (low is natural)
# prefers some sampling noise to none, though less than $t = 1$.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Noise 0.1 removed with three values of t. The mean (t = 0) has the best PSNR and a plastic smoothness; the sample (t = 1) has the grain that such a prior believes in, at a cost of 3 dB in the model and 2.5 dB here.", "name": "fig-t"}, "image": {"alt": "Four photographs: noisy, smooth estimate, one with a little grain, and one with grain like the noisy one but softer."}}
pick = 4
show_images(
    {
        "noisy": y[pick],
        "t = 0, the mean": m[pick],
        "t = 0.5": (m + 0.5 * noise[0])[pick],
        "t = 1, a sample": (m + noise[0])[pick],
    },
    truth=images[pick],
    zoom=(30, 68, 42, 42),
)

# %% tags=["remove-cell"]
one = slice(pick, pick + 1)
cost = psnr(m[one], images[one]) - psnr((m + noise[0])[one], images[one])
assert abs(cost.item() - 2.5) < 0.05  # the caption says 2.5 dB

# %% tags=["hide-input"]
compare(
    m[pick : pick + 1],
    (m + noise[0])[pick : pick + 1],
    labels=("mean", "sample"),
    truth=images[pick : pick + 1],
    alt="A slider between the smooth posterior mean and a grainy posterior "
    "sample of the same noisy photograph.",
    caption="Posterior mean (left) and posterior sample (right) of a Gaussian "
    "prior: the better number and the more honest texture.",
)

# %% [markdown]
# ## Is the error bar true?
#
# Samples from the posterior also say how far to trust the estimate: pixel by
# pixel, the interval around their mean that holds 90 % of them. To check it,
# count the pixels whose true value lies inside: the **coverage**. It should
# be 0.90, but with few samples it is not, even for a perfect posterior. The
# mean and the width come from the same $M$ samples: $x_i - \bar x$ has the
# variance $1 - 1/M$ and $x - \bar x$ has $1 + 1/M$, and the quantile of $M$
# numbers sits at $\beta = (\alpha(M-1)+1)/(M+1)$. Together,
#
# $$ \text{coverage} \approx 2\Phi\Bigl(\zeta\sqrt{\tfrac{M-1}{M+1}}\Bigr) - 1,
#    \qquad \zeta = \Phi^{-1}\bigl(\tfrac{1+\beta}2\bigr) . $$ (eq-coverage)

# %%
counts = [5, 10, 20, 50, 100, 200, 400]
normal = torch.distributions.Normal(0.0, 1.0)
raw, corrected, formula = [], [], []
for S_count in counts:
    seed = torch.Generator().manual_seed(S_count)
    draws = torch.randn(S_count + 1, 1, 1, 96, 96, generator=seed)
    raw.append(interval_coverage(draws[1:], draws[0], 0.9))
    if S_count > 9:
        corrected.append(
            interval_coverage(draws[1:], draws[0], 0.9, corrected=True)
        )
    p = (0.9 * (S_count - 1) + 1) / (S_count + 1)
    z = normal.icdf(torch.tensor((1 + p) / 2))
    shrink = math.sqrt((S_count - 1) / (S_count + 1))
    formula.append(2 * normal.cdf(z * shrink) - 1)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Coverage of the 90 % interval of a perfect posterior against the number of samples: simulation on 9216 pixels and formula, which agree from about 20 samples on. With the correction, which needs at least 9 samples, it is 0.90.", "name": "fig-bias"}, "image": {"alt": "Coverage rises from 0.7 at five samples towards 0.9 at four hundred, simulation and formula together; the corrected values, from ten samples on, lie at 0.9."}}
plot_curves(
    counts,
    {
        "simulated": raw,
        "formula": formula,
        "corrected": [torch.tensor([math.nan])] * 1 + corrected,
    },
    "number of samples",
    "coverage of the 90 % interval",
    log="x",
    dashed=("formula",),
)

# %% [markdown]
# So 0.888 with 100 samples is what a calibrated posterior scores; 0.90 means
# slightly too wide intervals. Neither proves the posterior right: wide enough
# intervals cover anything, and the prior alone has the right coverage too.
# (Measured on more pixels: {glue:text}`coverage_raw_100:.3f` raw,
# {glue:text}`coverage_corrected_100:.3f` corrected.)
#
# :::{exercise} Count honestly
# :label: ex-coverage
#
# Write the corrected coverage for samples `(M, n)` and truth `(n,)`: take the
# deviation of rank $\lceil\alpha(M+1)\rceil$ and widen it by
# $\sqrt{(M+1)/(M-1)}$. The check draws perfect posteriors with 20 samples.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def honest_coverage(samples, truth, alpha):
    ### BEGIN SOLUTION
    count, middle = len(samples), samples.mean(0)
    deviation = (samples - middle).abs().sort(0).values
    rank = math.ceil(alpha * (count + 1))
    width = deviation[rank - 1] * math.sqrt((count + 1) / (count - 1))
    return ((truth - middle).abs() <= width).double().mean().item()
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_coverage(honest_coverage)

# %% [markdown]
# Now the real thing: is the Gaussian posterior of the photographs calibrated?

# %%
samples = m + noise
levels = torch.arange(0.05, 1, 0.05)
curve, timid = (
    coverage_curve(m + t * noise, images, levels.tolist(), corrected=True)
    for t in (1.0, 0.5)
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Coverage against the level that was asked for, mean over the bundled photographs. The Gaussian posterior covers a little too much at most levels and a little too little above 0.9: photographs are flat in most places and rough in a few, which one spectrum cannot say. Half the spread covers far too little.", "name": "fig-calibration"}, "image": {"alt": "Coverage curves: the Gaussian posterior lies a little above the diagonal and crosses it near 0.9, the one with half the spread lies far below it."}}
plot_curves(
    levels,
    {
        "Gaussian posterior": curve.mean(1),
        "half its spread": timid.mean(1),
        "calibrated": levels,
    },
    "wanted",
    "covered",
    dashed=("calibrated",),
)

# %% [markdown]
# Coverage alone can be bought with wide intervals. A **proper score** cannot:
# the **energy score** {cite:p}`gneiting2007scoring`,
#
# $$ \operatorname{ES} = \tfrac1M\sum_i \lVert x_i - x\rVert -
#    \tfrac1{2 M(M-1)}\sum_{i\ne j} \lVert x_i - x_j\rVert , $$ (eq-energy)
#
# is smallest on average for samples of the true posterior: closeness is
# rewarded, and so is spread, in exact balance. (`energy_score` divides by
# $\sqrt n$, to be read in intensities.)

# %%
spreads = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
scores = torch.stack(
    [energy_score(m + t * noise, images).mean() for t in spreads]
)
diversity = average_pairwise_distance(samples).mean().item()
print(f"best spread {spreads[scores.argmin()]:.2f}")
print(f"mean square distance of two samples {diversity:.5f}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Energy score against the spread of the samples: neither no spread nor too much of it pays.", "name": "fig-energy"}, "image": {"alt": "A curve with its minimum near a spread of one."}}
plot_curves(spreads, {"energy score": scores}, "spread t", "energy score")

# %% tags=["remove-cell"]
assert 0 < scores.argmin() < len(spreads) - 1

# %% [markdown]
# :::{exercise} A score that cannot be gamed
# :label: ex-energy
#
# Write {eq}`eq-energy` for samples `(M, n)` and truth `(n,)`. The check
# compares the mean score of the true distribution with shifted, narrower and
# wider ones: the true one must win.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def my_energy_score(samples, truth):
    ### BEGIN SOLUTION
    count = len(samples)
    closeness = (samples - truth).norm(dim=1).mean()
    spread = torch.cdist(samples, samples).sum() / (count * (count - 1))
    return closeness - spread / 2
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_energy_score(my_energy_score)

# %% [markdown]
# ## The same in deepinv
#
# ```python
# import deepinv
#
# x, y = load_photo("camera", 128), load_photo("coins", 128)
# gap = (deepinv.metric.PSNR()(y, x) - psnr(y, x)).abs().max()
# ```
#
# ## Go further
#
# * {cite:t}`wang2004ssim` is still the best introduction to what SSIM is for;
#   {cite:t}`zhang2018unreasonable` compares metrics with thousands of human
#   judgements.
# * {cite:t}`blau2018perception` proves the trade-off for any distortion.
# * {cite:t}`mittal2012brisque` describes the 36 features behind our
#   naturalness; add one of your own and refit.
