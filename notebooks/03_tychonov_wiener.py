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
# # Tychonov and Wiener
#
# **You will see** real photographs deblurred by one division, three ways to
# choose the one parameter (two of which never look at the truth), and the
# statistical assumption that hides in a smoothness penalty, measured on
# photographs.
#
# **You need** {doc}`chapter 1 <01_inverse_problems>`, and the functional of
# {doc}`chapter 2 <02_gradient_descent>`.

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import load_photo, load_photos
from course_lib.exercises import (
    check_minimiser,
    check_residual,
    check_wiener_limits,
)
from course_lib.experiments.tychonov_wiener import LAMS, SIGMAS
from course_lib.finite_differences import laplacian_symbol
from course_lib.fourier import radial_mean
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.metrics import psnr
from course_lib.operators import (
    Blur,
    GaussianNoise,
    gaussian_kernel,
    motion_kernel,
)
from course_lib.plotting import compare, plot_curves, show_images
from course_lib.results import load_results
from course_lib.solvers import (
    discrepancy_principle,
    generalised_cross_validation,
    gradient_descent,
    oracle_weight,
    tychonov,
)

# %% tags=["remove-input"]
budget_card("03_tychonov_wiener")

# %% tags=["remove-cell"]
results = load_results("03_tychonov_wiener")
results.glue()

# %% [markdown]
# ## One division
#
# {cite:t}`tikhonov1977solutions` asked for the smoothest image that explains
# the data:
#
# $$ u_\lambda = \operatorname*{argmin}_u\;
#    \tfrac12 \lVert A u - y \rVert^2
#    + \lambda \lVert \nabla u \rVert^2 . $$ (eq-tychonov)
#
# At the minimiser the gradient vanishes,
# $(A^\top A - 2\lambda\Delta)\,u_\lambda = A^\top y$. For a blur (and for
# pure denoising, $\hat h = 1$) all operators are diagonal in the Fourier
# basis, and the linear system with one unknown per pixel becomes one division
# per frequency:
#
# $$ \hat u_\lambda = \frac{\overline{\hat h}}
#    {\lvert\hat h\rvert^2 + 2\lambda\hat L}\;\hat y, \qquad
#    \hat L(\xi) = 4\sin^2(\pi\xi_1) + 4\sin^2(\pi\xi_2). $$ (eq-closed)
#
# Here $\xi$ is in cycles per pixel. $\hat L$ is the Fourier *symbol* of
# $-\Delta$: it vanishes at $\xi = 0$ only, where $\hat h = 1$, so the
# denominator is never zero and the minimiser is unique. (A kernel with
# $\hat h(0) = 0$, which forgets the mean brightness, would lose this.)

# %%
x = load_photo("grace_hopper", 256)
size = tuple(x.shape[1:])
op = Blur(motion_kernel(9, 0.4), size, GaussianNoise(0.02))
y = op(x, generator=torch.Generator().manual_seed(1))
lam = 0.01
restored = tychonov(op, y, lam).x

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Motion blur of nine pixels with noise of standard deviation 0.02, and Tychonov's estimate for three weights. Too small a weight keeps the noise, too large a one keeps the blur.", "name": "fig-three"}, "image": {"alt": "Four photographs of Grace Hopper: smeared by motion; noisy but sharp for a small weight; sharp with little noise for the middle weight; and soft for a large weight."}}
show_images(
    {
        "blurred and noisy": y,
        "λ = 0.0005": tychonov(op, y, 0.0005).x,
        "λ = 0.01": restored,
        "λ = 0.3": tychonov(op, y, 0.3).x,
    },
    truth=x,
    zoom=(40, 90, 56, 56),
)

# %% tags=["hide-input"]
compare(
    y,
    restored,
    labels=("motion blur", "restored"),
    truth=x,
    alt="A slider between the photograph smeared by motion and its "
    "restoration, in which eyes and glasses are sharp.",
    caption="Motion blur (left) and Tychonov's estimate with λ = 0.01 "
    "(right).",
)

# %% [markdown]
# Each frequency is multiplied by a number: the **filter** below. Where the
# blur is strong the inverse filter $1/\hat h$ would amplify; the denominator
# stops it at a height that $\lambda$ decides.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What Tychonov's estimate does to each frequency, for a Gaussian blur of 1.5 pixels. Small weights follow the inverse filter further up before they give in.", "name": "fig-filters"}, "image": {"alt": "Curves over frequency: the inverse filter rises steeply, three Tychonov filters follow it, peak and fall; the smaller the weight, the later and higher the peak."}}
frequency = torch.linspace(0, 0.5, 200)
h_hat = torch.exp(-2 * (torch.pi * 1.5 * frequency) ** 2)
symbol = 4 * torch.sin(torch.pi * frequency) ** 2
filters = {
    f"λ = {weight}": h_hat / (h_hat**2 + 2 * weight * symbol)
    for weight in (0.1, 0.01, 0.001)
}
inverse = {"inverse, 1/ĥ": (1 / h_hat).where(frequency < 0.26, torch.nan)}
plot_curves(
    frequency,
    filters | inverse,
    "frequency (cycles / pixel), along one axis",
    "filter",
    dashed=("inverse, 1/ĥ",),
)

# %% [markdown]
# :::{exercise} The closed form
# :label: ex-closed
#
# Without `tychonov`, write {eq}`eq-closed` with `torch.fft.rfft2`, `op.transfer` (the half
# spectrum of $\hat h$) and `laplacian_symbol`. The check does not know the
# formula: it evaluates $\nabla f$ at your answer.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def closed_form(op, y, lam):
    ### BEGIN SOLUTION
    h_hat = op.transfer
    symbol = laplacian_symbol(y.shape[-2:])
    u_hat = h_hat.conj() * torch.fft.rfft2(y)
    u_hat = u_hat / (h_hat.abs() ** 2 + 2 * lam * symbol)
    return torch.fft.irfft2(u_hat, s=y.shape[-2:])
    ### END SOLUTION


# %% tags=["nbval-check-output"]
exact = Blur(motion_kernel(9, 0.4, dtype=torch.float64), (1, 256, 256))
smeared = exact.A(load_photo("grace_hopper", 256).double())
objective = LeastSquares(exact, smeared) + Tychonov(0.01)
check_minimiser(closed_form)

# %% [markdown]
# Descent finds the same image, only slower. One evaluation of
# {eq}`eq-closed` costs as much as one descent step:

# %%
closed = tychonov(exact, smeared, 0.01).x
distances = []
for n in (10, 100, 1000):
    u = gradient_descent(objective, smeared, max_iter=n, rtol=0).x
    distances.append((u - closed).std().item())
    print(f"{n:5d} steps: rms distance {distances[-1]:.1e}")

# %% tags=["remove-cell"]
assert distances[2] < 0.01 * distances[1] < 0.1 * distances[0]

# %% [markdown]
# ## Choosing the weight
#
# The quality of the result hangs on $\lambda$. Three ways to choose it:
#
# * The **oracle** takes the $\lambda$ of least true error. It needs the
#   answer, so it is a yardstick and no method.
# * The **discrepancy principle** {cite:p}`morozov1984methods` asks that the
#   residual be as large as the noise, $\lVert A u_\lambda - y\rVert^2 =
#   n\sigma^2$, no smaller: what is smaller was fitted to noise. It needs
#   $\sigma$. The residual grows with $\lambda$, so bisection finds it.
# * **Generalised cross-validation** {cite:p}`golub1979gcv` predicts each
#   measurement from all others. It minimises $\lVert A u_\lambda - y\rVert^2
#   / \operatorname{tr}(I - A R_\lambda)^2$ with $u_\lambda = R_\lambda y$,
#   and needs nothing.
#
# The residual is diagonal too, $\widehat{(A u_\lambda - y)} = -\frac{2\lambda
# \hat L}{\lvert\hat h\rvert^2 + 2\lambda\hat L}\,\hat y$, so the
# last two rules are sums over frequencies: no image is restored before the
# weight is known.

# %%
sigma = 0.02
op = Blur(gaussian_kernel(1.5), size, GaussianNoise(sigma))
x = load_photo("camera", 256)
y = op(x, generator=torch.Generator().manual_seed(2))
by_discrepancy = discrepancy_principle(op, y, sigma)
by_gcv, gcv = generalised_cross_validation(op, y, LAMS)
by_oracle = oracle_weight(op, y, x, LAMS)
scores = torch.stack([psnr(tychonov(op, y, lam).x, x) for lam in LAMS])[:, 0]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "PSNR of Tychonov's estimate against the weight, and what the three rules choose. The hill is flat: a factor of two in the weight costs little.", "name": "fig-choice"}, "image": {"alt": "A hill-shaped curve of PSNR over the weight; oracle and cross-validation mark almost the same point at the top, the discrepancy principle a point to the right and lower."}}
chosen = {
    "oracle": by_oracle,
    "cross-validation": by_gcv,
    "discrepancy": by_discrepancy,
}
plot_curves(
    LAMS,
    {"Tychonov": scores},
    "λ",
    "PSNR (dB)",
    log="x",
    marks={
        name: (lam, psnr(tychonov(op, y, lam).x, x))
        for name, lam in chosen.items()
    },
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The curves behind the rules, scaled: cross-validation takes the minimum of its score, discrepancy the weight where the mean squared residual crosses the noise variance (1 on this scale).", "name": "fig-rules"}, "image": {"alt": "Two curves over the weight: the cross-validation score has a shallow minimum, the residual rises and crosses the dashed line at one, at a larger weight."}}
residual = torch.stack(
    [(op.A(tychonov(op, y, lam).x) - y).square().mean() for lam in LAMS]
)
plot_curves(
    LAMS,
    {
        "cross-validation score": y[0].numel() * gcv[0] / sigma**2,
        "mean squared residual / σ²": residual / sigma**2,
        "1": torch.ones_like(LAMS),
    },
    "λ",
    "score",
    log="xy",
    dashed=("1",),
)

# %% [markdown]
# The discrepancy principle chooses too large a weight as a rule: even at the
# true image the residual is $\lVert w\rVert^2 \approx n\sigma^2$, but the
# best estimate has used some of the data to fit, so its residual is smaller.
# It pays in PSNR and wins in SSIM, which likes smooth results.
#
# :::{exercise} Discrepancy by bisection
# :label: ex-discrepancy
#
# Without `discrepancy_principle`, find $\lambda$ such that the residual of
# `tychonov(op, y, lam).x` has the root mean square `sigma`.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def discrepancy_by_bisection(op, y, sigma):
    ### BEGIN SOLUTION
    low, high = 1e-6, 1e2
    for _ in range(40):
        lam = (low * high) ** 0.5  # the middle, on a logarithmic scale
        r = op.A(tychonov(op, y, lam).x) - y
        low, high = (low, lam) if r.square().mean() > sigma**2 else (lam, high)
    return lam
    ### END SOLUTION


# %% tags=["nbval-check-output"]
soft = Blur(gaussian_kernel(1.5), (1, 256, 256), GaussianNoise(0.03))
photo = load_photo("coins", 256)
seen_coins = soft(photo, generator=torch.Generator().manual_seed(8))


def residual_of_answer():
    lam = discrepancy_by_bisection(soft, seen_coins, 0.03)
    return soft.A(tychonov(soft, seen_coins, lam).x) - seen_coins


check_residual(residual_of_answer, 0.03)

# %% [markdown]
# ## When Tychonov is a Wiener filter
#
# {cite:t}`wiener1949extrapolation` asked a different question. Let $x$ be a
# random stationary image with power spectrum $S(\xi) = \mathbb E\lvert\hat
# x(\xi)\rvert^2$ and let $w$ be white noise, $\mathbb E\lvert\hat w(\xi)
# \rvert^2 = n\sigma^2$. Which linear filter has the least mean square
# error? Frequency by frequency, minimising $\mathbb E\lvert g \hat y - \hat
# x\rvert^2$ over the number $g$ gives
#
# $$ g = \frac{\overline{\hat h}}
#    {\lvert\hat h\rvert^2 + n\sigma^2 / S} . $$ (eq-wiener)
#
# (for an image of mean zero). Compare with {eq}`eq-closed`: where
# $\hat h \ne 0$ the two agree exactly when
#
# $$ S(\xi) = \frac{n\sigma^2}{2\lambda\,\hat L(\xi)} . $$ (eq-spectrum)
#
# So Tychonov's penalty *is* a statistical claim: the power of an image falls
# like $1/\hat L \approx 1/(4\pi^2\lvert\xi\rvert^2)$. "Wiener filtering" is
# the right name for {eq}`eq-closed` only under this claim. Is it true?
# Photographs can be asked.

# %%
images = load_photos(size=256).images  # the twelve bundled photographs
centred = images - images.mean((2, 3), keepdim=True)
power = torch.fft.rfft2(centred).abs().square().mean((0, 1))
distance, spectrum = radial_mean(power, size[1:])
y = op(images, generator=torch.Generator().manual_seed(3))
lam = oracle_weight(op, y, images, LAMS).log().mean().exp()  # a typical one
claimed = sigma**2 * 256**2 / (2 * lam * laplacian_symbol((256, 256)))
_, claim = radial_mean(claimed, size[1:])
_, gain = radial_mean(op.gain, size[1:])
obscured = sigma**2 * 256**2 / gain

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean power spectrum of twelve photographs by distance from frequency zero, and the spectrum that Tychonov's penalty claims with the (geometric) mean oracle weight for Gaussian blur and noise 0.02. The thin dashed curve is the noise, divided by the blur: above 0.2 it hides the image, and there it hardly matters what the prior claims.", "name": "fig-spectrum"}, "image": {"alt": "On doubly logarithmic axes the photographs' power falls over five decades in a nearly straight line; the claimed spectrum has a similar slope, lies below it at low and above it at high frequencies; a dashed curve, the noise divided by the blur, rises steeply and crosses both near 0.2."}}
plot_curves(
    distance,
    {
        "photographs": spectrum,
        "claimed by Tychonov": claim,
        "noise / |ĥ|²": obscured.clamp(max=1e7),
    },
    "frequency (cycles / pixel)",
    "power",
    log="xy",
    dashed=("noise / |ĥ|²",),
)

# %% tags=["nbval-check-output"]
band = (distance > 0.02) & (distance < 0.2)
logs = torch.stack((distance[band].log(), torch.ones(int(band.sum()))), 1)
slope = torch.linalg.lstsq(logs, spectrum[band].log()[:, None]).solution[0]
print(f"photographs: power ~ frequency ^ {slope.item():.1f}")

# %% tags=["remove-cell"]
assert -3.5 < slope.item() < -1.5

# %% [markdown]
# Up to 0.2 photographs fall a little faster than the claimed $-2$, beyond it
# much faster. One parameter cannot fit a curve everywhere, and need not: at
# low frequencies the data are good and hardly listen to the prior, above the
# crossing with the noise nothing can be restored. The best weight makes the
# claim right in between, where the filters of {numref}`fig-filters` turn
# down. It also says when to distrust one parameter: single photographs differ
# widely (brick, grass and gravel fall like $-1$, portraits like $-3$).
#
# :::{exercise} The filter of least error
# :label: ex-wiener
#
# Write {eq}`eq-wiener` for images `y` whose spectrum `S` and blur `transfer`
# are given on the half grid of `rfft2`. The check draws 200 random images
# with spectrum `S`, looks at the limits $\sigma \to 0$ and
# $\sigma\to\infty$, and tries other noise levels: yours must be the best.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def least_error(y, transfer, sigma, S):
    ### BEGIN SOLUTION
    n = y.shape[-2] * y.shape[-1]
    g = transfer.conj() / (transfer.abs() ** 2 + sigma**2 * n / S)
    return torch.fft.irfft2(g * torch.fft.rfft2(y), s=y.shape[-2:])
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_wiener_limits(least_error)

# %% [markdown]
# ## All photographs, four noise levels
#
# First a look: one photograph at each level, restored with the weight that
# cross-validation chooses. The more noise, the lower the frequency at which
# the filter has to give up.

# %%
x = load_photo("rocket", 192)
observed, answers = [], []
for level in SIGMAS.values():
    op = Blur(gaussian_kernel(1.5), (1, 192, 192), GaussianNoise(level))
    y = op(x, generator=torch.Generator().manual_seed(9))
    weight, _ = generalised_cross_validation(op, y, LAMS)
    observed.append(y)
    answers.append(tychonov(op, y, weight).x)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A Gaussian blur of 1.5 pixels at four noise levels (top), and Tychonov's estimate with the weight of cross-validation (bottom). PSNR below.", "name": "fig-levels"}, "image": {"alt": "Two rows of four pictures of a rocket: increasingly noisy above; below the restored ones lose detail from left to right but stay free of noise."}}
show_images(
    observed + answers,
    [f"σ = {level}" for level in SIGMAS.values()] + [""] * 4,
    truth=x,
    columns=4,
)

# %% [markdown]
# The tables are means over 100 test photographs of BSDS500
# {cite:p}`arbelaez2011contour`. The first pair deblurs a Gaussian blur of 1.5
# pixels, the second pair only denoises. "Wiener" uses the mean spectrum of
# the *other* photographs: it never sees the one that it restores.

# %% tags=["hide-input"]
methods = {
    "observed": "observed",
    "discrepancy": "Tychonov, discrepancy",
    "gcv": "Tychonov, cross-validation",
    "wiener": "Wiener, spectrum of others",
    "oracle": "Tychonov, oracle",
}


def table(task, metric):
    labels = {key: f"σ = {sigma}" for key, sigma in SIGMAS.items()}
    name = f"{task}_{metric}_{{row}}_{{column}}"
    fmt = ".2f" if metric == "psnr" else ".3f"
    return results.table(methods, labels, name, fmt, best="max")


# %% [markdown]
# Deblurring, PSNR in dB:

# %% tags=["nbval-check-output", "hide-input"]
table("deblur", "psnr")

# %% [markdown]
# Deblurring, SSIM:

# %% tags=["nbval-check-output", "hide-input"]
table("deblur", "ssim")

# %% [markdown]
# Denoising, PSNR in dB:

# %% tags=["nbval-check-output", "hide-input"]
table("denoise", "psnr")

# %% [markdown]
# Denoising, SSIM:

# %% tags=["nbval-check-output", "hide-input"]
table("denoise", "ssim")

# %% [markdown]
# The tables show three things (a distance from the oracle is a mean over the
# photographs with its 95 % interval, at $\sigma = 0.02$ unless stated).
#
# * For deblurring, cross-validation stays
#   {glue:text}`deblur_gap_gcv_02:.2f` ±
#   {glue:text}`deblur_interval_gcv_02:.2f` dB below the oracle: few of the
#   frequencies can be restored, and most of the data is left to
#   cross-validate with, which is what its theory asks for. For denoising most
#   frequencies are kept. There it fails and keeps the noise:
#   {glue:text}`denoise_psnr_gcv_05:.1f` dB at $\sigma = 0.05$, where the
#   oracle has {glue:text}`denoise_psnr_oracle_05:.1f` dB.
# * The discrepancy principle is {glue:text}`deblur_gap_discrepancy_02:.2f` ±
#   {glue:text}`deblur_interval_discrepancy_02:.2f` dB below the oracle for
#   deblurring. For denoising with weak noise it scores below the observation
#   itself: {glue:text}`denoise_psnr_discrepancy_005:.1f` against
#   {glue:text}`denoise_psnr_observed_005:.1f` dB at $\sigma = 0.005$.
# * One spectrum, learnt from other photographs, needs no weight. It stays
#   {glue:text}`deblur_gap_wiener_02:.2f` ±
#   {glue:text}`deblur_interval_wiener_02:.2f` dB below the oracle for
#   deblurring. For denoising the two are level (a difference of
#   {glue:text}`denoise_gap_wiener_02:.2f` ±
#   {glue:text}`denoise_interval_wiener_02:.2f` dB), although the oracle chooses
#   its weight for each photograph with the truth in hand.

# %%
some = ["coffee", "rocket", "immunohistochemistry"]
colour = load_photos(some, (120, 160), colour=True).images
op = Blur(gaussian_kernel(1.5), tuple(colour.shape[1:]), GaussianNoise(0.02))
y = op(colour, generator=torch.Generator().manual_seed(6))
u = tychonov(op, y, generalised_cross_validation(op, y, LAMS)[0]).x

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three colour photographs, blurred with noise of 0.02 (top), and restored by Tychonov's closed form, weight by cross-validation (bottom). PSNR below.", "name": "fig-colour"}, "image": {"alt": "Two rows of three colour pictures: a cup of coffee, a rocket at dusk and stained tissue, soft and noisy above, clearer below."}}
scored = [f"{v:.2f} dB" for v in (*psnr(y, colour), *psnr(u, colour))]
show_images(
    [*y, *u],
    ["coffee", "rocket", "tissue", "", "", ""],
    captions=scored,
    columns=3,
)

# %% tags=["remove-cell"]
assert (psnr(u, colour) > psnr(y, colour) + 1).all()

# %% [markdown]
# (border)=
# ## The border, and other confessions
#
# Everything above lives on a torus: the blur wraps around, the data were made
# with the same wrapped blur, and the filter knows it. A real camera sees what
# lies beyond its frame. Cut the data out of a larger blurred photograph and
# the same filter rings, most at the border, where left and right edge do not
# match. Fading the frame towards its own blurred, wrapped copy (an old
# trick) calms the ringing at the price of a soft margin.

# %%
large = load_photo("astronaut", 320)
wide = Blur(gaussian_kernel(2.5), (1, 320, 320), GaussianNoise(0.005))
seen = wide(large, generator=torch.Generator().manual_seed(7))
y = seen[..., 64:256, 64:256]
x = large[..., 64:256, 64:256]
op = Blur(gaussian_kernel(2.5), (1, 192, 192))
ramp = (torch.arange(192) + 0.5).clamp(max=16)
ramp = torch.minimum(ramp, ramp.flip(0)) / 16
weight = ramp[:, None] * ramp
tapered = weight * y + (1 - weight) * op.A(y)
naive, calm = (tychonov(op, v, 1e-3).x for v in (y, tapered))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Data cut out of a larger blurred photograph. The periodic filter rings at the border, since opposite edges do not match; tapering the frame calms it. PSNR below.", "name": "fig-border"}, "image": {"alt": "Four panels of a detail of the portrait: original, blurred, restored with bright and dark stripes along the border, and restored with a softer, quieter margin."}}
show_images(
    {
        "original": x,
        "cut out": y,
        "periodic filter": naive,
        "tapered": calm,
    },
    truth=x,
)

# %% tags=["remove-cell"]
assert (psnr(calm, x) > psnr(naive, x) + 1).all()

# %% [markdown]
# The second confession: edges. A penalty on $\lVert\nabla u\rVert^2$ prefers
# two small steps to one large one, so an edge is either blurred or, with a
# smaller weight, bordered by ripples and noise. No choice of $\lambda$, and
# no spectrum, cures it: a filter that is the same everywhere treats an edge
# like a wall. The next chapter lets the image decide.
#
# ## The same in deepinv
#
# deepinv has no gradient penalty in closed form, but its proximal gradient
# method accepts ours: `Tychonov.prox` is a prior like any other.
#
# ```python
# from deepinv.optim import L2, PGD, Prior
# from course_lib.operators import to_deepinv
#
# op = Blur(gaussian_kernel(1.5), (1, 128, 128))
# y = op.A(load_photo("camera", 128))
# penalty = Tychonov(0.01)
# prior = Prior(g=lambda u, *_: penalty(u))
# prior.prox = lambda u, *_, gamma=1.0, **__: penalty.prox(u, gamma)
# solver = PGD(
#     data_fidelity=L2(), prior=prior, lambda_reg=1.0, stepsize=1.0,
#     max_iter=300,
# )
# u = solver(y, to_deepinv(op))
# gap = (u - tychonov(op, y, 0.01).x).abs().max()  # about 1e-5
# ```
#
# ## Go further
#
# * {cite:t}`hansen2006deblurring` treats borders and parameter choice with
#   care; {cite:t}`engl1996regularization` proves when discrepancy works.
# * Restore `load_photo("hubble_deep_field")` with the spectrum of the other
#   photographs and with its own. How much does the right claim buy?
# * Add a third rule: Stein's unbiased risk estimate
#   $\lVert A u_\lambda - y\rVert^2 + 2\sigma^2\operatorname{tr}(A R_\lambda)$.
#   It is one more sum over frequencies. Does it cure denoising?
