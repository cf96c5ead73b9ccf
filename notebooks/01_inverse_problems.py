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
# # Inverse problems and forward operators
#
# **You will see** one photograph through nine instruments, why dividing by
# the blur destroys an image (with the size of the damage predicted to three
# digits), and two different pictures that no instrument of a given kind can
# tell apart.
#
# **You need** linear algebra (singular values) and the discrete Fourier
# transform. The symbols are those of the {doc}`notation page
# </book/notation>`.

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import load_photo
from course_lib.exercises import (
    check_adjoint,
    check_noise_gain,
    check_null_projection,
)
from course_lib.functionals import LeastSquares
from course_lib.metrics import psnr
from course_lib.operators import (
    MRI,
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
    PoissonNoise,
    Tomography,
    bicubic_kernel,
    box_kernel,
    cartesian_mask,
    gaussian_kernel,
    motion_kernel,
)
from course_lib.plotting import (
    compare,
    plot_curves,
    show_images,
    show_spectrum,
)
from course_lib.results import load_results
from course_lib.solvers import gradient_descent

# %% tags=["remove-input"]
budget_card("01_inverse_problems")

# %% tags=["remove-cell"]
results = load_results("01_inverse_problems")
results.glue()

# %% [markdown]
# ## One photograph, many instruments
#
# A camera, a scanner or a telescope does not record an image $x$. It records
#
# $$ y = A(x) + w, $$ (eq-model)
#
# where the **forward operator** $A$ is the physics of the instrument and $w$
# is noise. Restoring $x$ from $y$ is an **inverse problem**. In this course
# $x$ has values in $[0, 1]$, $A$ is known (until the last chapter), and
# $w \sim \mathcal N(0, \sigma^2 I)$ unless we say otherwise: the covariance
# is $\sigma^2$ *times the identity*, one independent number per measurement.
#
# | instrument | $A x$ | what is lost |
# |---|---|---|
# | any sensor | $x$ | nothing, but there is noise |
# | lens, motion | $h \ast x$ | high frequencies fade |
# | coarse sensor | $(h \ast x)$ at every $s$-th pixel | frequencies fold onto each other |
# | scratches, dust | $x$ where the mask is 1 | the other pixels |
# | magnetic resonance | $F (d x)$ on $\Omega$ | the Fourier coefficients outside $\Omega$ |
# | computed tomography | sums of $x$ along lines | everything that cancels along all lines |
# | compressed sensing | $m$ random sums | $n - m$ dimensions |
# | phase retrieval | $\lvert B x \rvert^2$ | all phases; not linear |
#
# Each is one object of `course_lib.operators`. Calling it draws a noisy
# measurement; `op.A` is the noise-free one. (Convolution is periodic here:
# the image is a torus. {ref}`Chapter 3 <border>` shows what that hides.)

# %% tags=["nbval-check-output"]
x = load_photo("astronaut", 128)
size = tuple(x.shape[1:])
g = torch.Generator().manual_seed(0)
noise = GaussianNoise(0.01)
zoo = {
    "noisy sensor": Denoising(size, GaussianNoise(0.1)),
    "few photons": Denoising(size, PoissonNoise(1 / 20)),
    "motion": Blur(motion_kernel(11, 0.5), size, noise),
    "coarse sensor": Downsampling(size, 4, bicubic_kernel(4), noise),
    "lost pixels": Inpainting(torch.rand(size, generator=g) < 0.5, noise),
    "MRI": MRI(cartesian_mask(size[1:], 4, g), size, noise_model=noise),
    "tomography": Tomography(size, 45, noise),
    "random sums": CompressedSensing(4096, size, g, "fourier", noise),
}
measured = {name: op(x, generator=g) for name, op in zoo.items()}
for name, y in measured.items():
    print(f"{name:14s} {tuple(x.shape[1:])} -> {tuple(y.shape[1:])}")


# %% tags=["hide-input"] mystnb={"figure": {"caption": "What eight instruments record of one portrait. The k-space of the MRI scan is shown as a logarithm, the tomography data as one column of sums for each of 45 directions, the random sums as a square of numbers.", "name": "fig-zoo"}, "image": {"alt": "Eight panels: the portrait with strong noise, with photon noise, smeared by motion, on a grid four times coarser, with half of its pixels black, as bright vertical lines of k-space, as a sinogram of wavy bands, and as a square of grey noise."}}
def stretch(u):
    return (u - u.min()) / (u.max() - u.min())


kspace = measured["MRI"].norm(dim=-3, keepdim=True)
directions = measured["tomography"].repeat_interleave(4, -2)
show_images(
    {
        **{name: measured[name] for name in list(zoo)[:5]},
        "MRI": stretch(torch.log(kspace + 1e-2)),
        "tomography": stretch(directions).mT,
        "random sums": measured["random sums"].reshape(64, 64) + 0.5,
    }
)

# %% [markdown]
# (sec-adjoint)=
# ## The adjoint: sending data back
#
# The first thing to do with data is to send each number back to the pixels it
# came from. For a linear $A$ this is the **adjoint** $A^\top$, defined by
#
# $$ \langle A x, v \rangle = \langle x, A^\top v \rangle
#    \quad\text{for all } x, v. $$ (eq-adjoint)
#
# It is not an inverse, but every method of this course is built from $A$ and
# $A^\top$: the gradient of $\tfrac12 \lVert A x - y\rVert^2$ is
# $A^\top (A x - y)$. Identity {eq}`eq-adjoint` is also the best test of an
# implementation. Random $x$ and $v$ are enough, and the right scale for the
# gap is $\lVert A x\rVert\,\lVert v\rVert$, since the inner product itself
# may be near zero by chance.

# %%
x64 = x.double()
for name, op in zoo.items():
    Ax = op.A(x64)
    v = torch.randn(Ax.shape, generator=g, dtype=torch.float64)
    gap = (Ax * v).sum() - (x64 * op.A_adjoint(v)).sum()
    gap = gap.abs() / (Ax.norm() * v.norm())
    assert gap < 1e-12
    print(f"{name:14s} relative gap {gap:.0e}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The adjoint of each instrument applied to its data, brightness stretched. It blurs a second time, spreads coarse pixels, smears along lines: a first look at the data on the grid of the image, not a restoration.", "name": "fig-adjoint"}, "image": {"alt": "Eight panels of the portrait after the adjoint: noisy, noisy, doubly smeared, soft from the coarse grid, half black, ghosted by missing frequencies, a soft tomographic haze, and a noisy portrait from random sums."}}
show_images(
    {name: stretch(op.A_adjoint(measured[name])) for name, op in zoo.items()}
)

# %% [markdown]
# For tomography, the inverse of the ideal continuous transform is known: it
# multiplies each view by $\lvert f\rvert$ in its own Fourier domain before
# it is sent back. This is **filtered backprojection**
# {cite:p}`natterer2001mathematics`, the workhorse of scanners. It is not
# $A^+$: with few views it leaves streaks.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Tomography of a portrait: backprojection is the adjoint, filtered backprojection inverts the continuous transform. Streaks fade as the number of views grows. PSNR below.", "name": "fig-fbp"}, "image": {"alt": "Four panels: the original, a soft haze, the portrait under strong streaks from 15 views, and nearly clean from 90 views."}}
few, many = Tomography(size, 15), Tomography(size, 90)
show_images(
    {
        "original": x,
        "backprojection": stretch(many.A_adjoint(many.A(x))),
        "filtered, 15 views": few.filtered_backprojection(few.A(x)),
        "filtered, 90 views": many.filtered_backprojection(many.A(x)),
    },
    captions=["", "90 views, stretched"]
    + [
        f"{psnr(op.filtered_backprojection(op.A(x)), x).item():.2f} dB"
        for op in (few, many)
    ],
)

# %% [markdown]
# :::{exercise} The adjoint of a jumping sensor
# :label: ex-adjoint
#
# A faulty camera adds to every pixel half of the pixel three columns to its
# left (periodically), and then keeps only the even rows. Write the adjoint.
# The check knows nothing but {eq}`eq-adjoint`.
# :::


# %%
def jumping(x):
    return (x + 0.5 * x.roll(3, -1))[..., ::2, :]


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def jumping_adjoint(v):
    ### BEGIN SOLUTION
    # Backwards: first undo the selection by inserting zeros, then the ghost
    # travels in the other direction.
    u = v.new_zeros(*v.shape[:-2], 2 * v.shape[-2], v.shape[-1])
    u[..., ::2, :] = v
    return u + 0.5 * u.roll(-3, -1)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_adjoint(jumping, jumping_adjoint, (1, 12, 10))

# %% [markdown]
# ## Dividing by the blur
#
# A periodic convolution is diagonal in the Fourier basis:
# $\widehat{h \ast x} = \hat h\,\hat x$. If $\hat h$ has no zero, then
# $\hat x = \hat y / \hat h$, and deblurring seems to be done. Without noise
# it is. Now add noise of one grey level, invisible to the eye.

# %%
sigma = 1 / 255
blur = Blur(gaussian_kernel(0.9), (1, 192, 192), GaussianNoise(sigma))
x = load_photo("grace_hopper", 192)
clean = blur.A(x)
y = blur(x, generator=torch.Generator().manual_seed(1))
naive = blur.A_dagger(y)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Division by the transfer function undoes a blur of 0.9 pixels when there is no noise, and drowns the image when noise of one grey level, 1/255, is added before. PSNR below.", "name": "fig-naive"}, "image": {"alt": "Four photographs of Grace Hopper: sharp, blurred with invisible noise, perfectly restored from noise-free data, and covered by strong fine-grained noise after division of the noisy data."}}
show_images(
    {
        "original": x,
        "blurred, noise 1/255": y,
        "inverse, no noise": blur.A_dagger(clean),
        "inverse, noise 1/255": naive,
    },
    truth=x,
    zoom=(30, 68, 42, 42),
)

# %% [markdown]
# ### How large the damage is
#
# The error of the naive inverse is $e = F^{-1}(\hat w / \hat h)$, which does
# not depend on the image at all. White noise has
# $\mathbb E\lvert\hat w(\xi)\rvert^2 = n\sigma^2$ at every frequency
# (unnormalised DFT). By Parseval, and since filtered white noise is
# stationary, every pixel of $e$ has the standard deviation
#
# $$ \operatorname{std}(e) = \sigma\,
#    \Bigl(\operatorname*{mean}_{\xi}\,
#    \lvert\hat h(\xi)\rvert^{-2}\Bigr)^{1/2}. $$ (eq-gain)
#
# One weak frequency is enough to make this mean enormous. The formula needs
# no experiment, but let us do the experiment.

# %%
widths = torch.linspace(0.2, 1.0, 9)
predicted, found = [], []
for width in widths.tolist():
    kernel = gaussian_kernel(width, size=15, dtype=torch.float64)
    op = Blur(kernel, (1, 192, 192), GaussianNoise(sigma))
    k_hat = torch.fft.fft2(kernel[0, 0], s=(192, 192)).abs()
    predicted.append(sigma * (k_hat**-2).mean().sqrt())
    draw = op(x.double(), generator=torch.Generator().manual_seed(2))
    found.append((op.A_dagger(draw) - x).std())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Error of the naive inverse against the width of the blur, for noise of one grey level: the prediction and one simulated image. From 0.9 pixels on the error is larger than the contrast of the image.", "name": "fig-gain"}, "image": {"alt": "Two curves that coincide, rising from 0.004 at a width of 0.2 pixels to more than 1 at a width of 1 pixel on a logarithmic axis."}}
plot_curves(
    widths,
    {"measured": found, "predicted": predicted},
    "standard deviation of the Gaussian blur (pixels)",
    "std of the error",
    log="y",
    dashed=("predicted",),
)

# %% [markdown]
# On 100 test photographs, with a blur of $0.6$ pixels and $\sigma = 0.01$, the
# formula predicts an error of
# {glue:text}`naive_std_predicted:.4f`, the measurement gives
# {glue:text}`naive_std_measured:.4f`, and the "restoration" scores
# {glue:text}`psnr_naive:.1f` dB where doing nothing scores
# {glue:text}`psnr_blurred:.1f` dB.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the noise comes from. The blur has emptied the corners of the spectrum and left the noise there, hardly visible; division lifts it above the photograph.", "name": "fig-transfer"}, "image": {"alt": "Two spectra: the blurred photograph is bright in the centre and ends in a flat dark floor of noise; its naive inverse has corners nearly as bright as its centre."}}
show_spectrum([y, naive], ["blurred, noise 1/255", "naive inverse"])

# %% tags=["hide-input"]
compare(
    y,
    naive,
    labels=("blurred", "naive inverse"),
    truth=x,
    alt="A slider between the blurred photograph of Grace Hopper and its "
    "naive inverse, which is covered by noise.",
    caption="Blurred photograph (left) and its division by the transfer "
    "function (right): the edges are sharp, under a carpet of noise.",
)

# %% [markdown]
# :::{exercise} Predict the noise
# :label: ex-gain
#
# Write {eq}`eq-gain` for a transfer function given on the full Fourier grid.
# The check compares with 400 simulated noise images.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def noise_gain(transfer, sigma):
    ### BEGIN SOLUTION
    return sigma * transfer.abs().pow(-2).mean().sqrt().item()
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_noise_gain(noise_gain)

# %% [markdown]
# ## The pseudo-inverse and its limit
#
# When $A$ is not invertible, many images explain the data equally well. The
# **pseudo-inverse** picks the smallest of them.
#
# :::{prf:definition} Pseudo-inverse
# :label: def-pinv
#
# $A^+ y = \operatorname*{argmin}\,\bigl\{\lVert u \rVert \,:\,
# u \in \operatorname{Argmin} \tfrac12\lVert A \cdot - y\rVert^2 \bigr\}$.
# :::
#
# Its values lie in $(\ker A)^\perp$, since a component in $\ker A$ would
# lengthen $u$ without changing $A u$. With the singular value decomposition
# $A = \sum_i s_i\, u_i v_i^\top$, $A^+ y = \sum_{s_i > 0} s_i^{-1} \langle
# u_i, y\rangle\, v_i$: each direction is divided by its singular value. For a
# blur these are the $\lvert\hat h\rvert$, so $A^+$ is the naive inverse.
#
# Penalising the size of $u$ a little leads to the same image:
#
# :::{prf:theorem} Ridge regression tends to the pseudo-inverse
# :label: thm-ridge
#
# For $\lambda > 0$ the functional $\tfrac12\lVert A u - y\rVert^2 +
# \tfrac\lambda2\lVert u\rVert^2$ has the unique minimiser
# $u_\lambda = (A^\top A + \lambda I)^{-1} A^\top y$. If $s_{\min}$ is the smallest
# singular value that is not zero, then
# $\lVert u_\lambda - A^+ y\rVert \le
# \frac{\lambda}{s_{\min}^2 + \lambda}\lVert A^+ y\rVert$.
# :::
#
# :::{prf:proof}
# The gradient $A^\top(A u - y) + \lambda u$ vanishes only at $u_\lambda$. In
# the direction $v_i$ it has the coefficient $\frac{s_i}{s_i^2 + \lambda}
# \langle u_i, y\rangle$, which is $\frac{s_i^2}{s_i^2+\lambda}$ times that of
# $A^+ y$; the difference is $\frac{\lambda}{s_i^2 + \lambda}$ times it.
# :::
#
# The closed forms of the library reach this limit down to the last bit.
# Solving the normal equations by a general solver does not: their condition
# number grows like $1/\lambda$, and below $\lambda \approx 10^{-8}$ rounding
# errors win.

# %%
lams = torch.logspace(0, -14, 29, dtype=torch.float64)
kernel = bicubic_kernel(2, dtype=torch.float64)
op = Downsampling((1, 16, 16), 2, kernel)
y = op.A(load_photo("camera", 16).double())
basis = torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
A = op.A(basis).reshape(256, -1).T
limit = op.A_dagger(y)


def distance(u):
    return ((u - limit).norm() / limit.norm()).clamp(min=1e-17)


closed, dense = [], []
for lam in lams.tolist():
    # gamma/2 |A u - y|^2 + 1/2 |u|^2 with gamma = 1 / lambda
    closed.append(distance(op.prox_l2(torch.zeros_like(limit), y, 1 / lam)))
    normal = A.T @ A + lam * torch.eye(256, dtype=torch.float64)
    u = torch.linalg.solve(normal, A.T @ y.flatten())
    dense.append(distance(u.reshape(limit.shape)))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the ridge estimate from the pseudo-inverse, for super-resolution by two of a 16 x 16 image in double precision. Theory promises a line of slope one; the closed form follows it to the end, the dense solve turns back.", "name": "fig-limit"}, "image": {"alt": "On logarithmic axes the closed form falls in a straight line with lambda to 1e-14, the dense solution leaves the line near lambda 1e-8 and rises again."}}
plot_curves(
    lams,
    {"closed form": closed, "dense solve": dense},
    "λ",
    "relative distance to A⁺y",
    log="xy",
)

# %% [markdown]
# With noisy data the limit is the last thing one wants. On the way to it the
# estimate is best somewhere in the middle, a behaviour called
# **semi-convergence**: choosing $\lambda$ is choosing how far to trust the
# data ({doc}`chapter 3 <03_tychonov_wiener>`).

# %%
x = load_photo("camera", 128)
op = Blur(gaussian_kernel(1.5), size, GaussianNoise(0.02))
y = op(x, generator=torch.Generator().manual_seed(4))
lams = torch.logspace(1, -5, 49)
zero = torch.zeros_like(y)
scores = [psnr(op.prox_l2(zero, y, 1 / lam.item()), x) for lam in lams]
best = int(torch.cat(scores).argmax())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Quality of the ridge estimate of a blurred and noisy photograph against its weight. Too much weight pulls the image to black, too little lets the noise through.", "name": "fig-semi"}, "image": {"alt": "PSNR against lambda on a logarithmic axis: a hill with its top near lambda 0.02, falling on both sides."}}
plot_curves(
    lams,
    {"ridge": scores, "y itself": [psnr(y, x)] * len(lams)},
    "λ",
    "PSNR (dB)",
    log="x",
    marks={"best λ": (lams[best], scores[best])},
    dashed=("y itself",),
)

# %% tags=["remove-cell"]
assert 0 < best < len(lams) - 1
assert scores[best] > psnr(y, x) + 1 > scores[-1]

# %% [markdown]
# ## What the data cannot see
#
# Every image splits into the part that $A$ sees and the part that it does
# not:
#
# $$ x = \underbrace{A^+ A x}_{\in (\ker A)^\perp} +
#        \underbrace{(I - A^+ A)\, x}_{\in \ker A}. $$ (eq-split)
#
# The second part can be anything without changing a single measurement.
# Whatever a restoration shows there comes from its **prior**: an assumption,
# a formula, a trained network. This is what most of the course is about, and
# why the last question of every chapter is how far to trust the result.

# %%
x = load_photo("astronaut", 128)
blind = {
    "coarse sensor": Downsampling(size, 4, bicubic_kernel(4)),
    "lost pixels": zoo["lost pixels"],
    "MRI": zoo["MRI"],
    "random sums": zoo["random sums"],
}
seen = {name: op.A_dagger(op.A(x)) for name, op in blind.items()}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A portrait split into what each instrument sees (top) and what it cannot see (bottom, zero is mid-grey). The two rows add up to the portrait.", "name": "fig-null"}, "image": {"alt": "Top row: the portrait blurred, with black dots, ghosted, and noisy. Bottom row: on mid-grey, its fine edges, the missing pixels, the missing vertical detail, and a noisy portrait."}}
show_images(
    list(seen.values()) + [x - part + 0.5 for part in seen.values()],
    [f"{name}: seen" for name in seen] + ["unseen"] * 4,
    columns=4,
)

# %% [markdown]
# On 100 test photographs (mean brightness taken off) the unseen part holds
# {glue:text}`unseen_downsampling:.0f` % of the variance for a sensor four
# times coarser, {glue:text}`unseen_mri:.0f` % for the fourfold accelerated MRI
# scan, {glue:text}`unseen_inpainting:.0f` % for half of the pixels lost, and
# {glue:text}`unseen_sensing:.0f` % for one random sum in four pixels. The
# first two keep what photographs are mostly made of, low frequencies; chance
# does not care.
#
# To see what "unseen" means, take the seen part of one photograph and the
# unseen part of another. The result is an impostor: a different picture with
# the same measurement.

# %%
cat = load_photo("chelsea", 128)
coarse = blind["coarse sensor"]
impostor = seen["coarse sensor"] + cat - coarse.A_dagger(coarse.A(cat))
difference = (coarse.A(impostor) - coarse.A(x)).abs().max()
print(f"largest difference of the two measurements: {difference:.0e}")
assert difference < 1e-5

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two pictures with one measurement. The impostor carries the fine detail of a cat in the unseen frequencies; the coarse sensor cannot tell it from the portrait.", "name": "fig-impostor"}, "image": {"alt": "Four panels: the portrait, the impostor with the texture of a cat's fur and whiskers, and the two identical coarse images."}}
show_images(
    {
        "portrait": x,
        "impostor": impostor,
        "portrait, measured": coarse.A(x),
        "impostor, measured": coarse.A(impostor),
    },
)

# %% [markdown]
# :::{exercise} The projection on what is lost
# :label: ex-null
#
# A sensor averages blocks of 2 x 2 pixels. Write the orthogonal projection on
# what it cannot see, pixel by pixel, without `A_dagger`: what is left of a
# block when its mean is known?
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def unseen(x):
    ### BEGIN SOLUTION
    means = torch.nn.functional.avg_pool2d(x, 2)
    return x - means.repeat_interleave(2, -1).repeat_interleave(2, -2)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
blocks = Downsampling((1, 32, 24), 2, box_kernel(2))
check_null_projection(unseen, blocks.A, (1, 32, 24))

# %% [markdown]
# ## One that is not linear
#
# In phase retrieval a detector counts photons behind a scattering medium: it
# records $\lvert B x\rvert^2$ and loses every phase. There is no
# $A^\top$, but there is a Jacobian, and its transpose (`op.A_vjp`) is all
# that descent needs: $\nabla \tfrac12\lVert \lvert Bx\rvert^2 - y\rVert^2 =
# 2 \operatorname{Re} B^* \bigl((\lvert Bx\rvert^2 - y) \odot Bx\bigr)$. Start
# from the leading eigenvector of $\operatorname{Re} B^*
# \operatorname{diag}(y) B$ {cite:p}`candes2015wirtinger`, go downhill, and
# compare up to a sign, because $x$ and $-x$ give the same data.

# %%
x = load_photo("astronaut", 32)
op = PhaseRetrieval(4 * 1024, (1, 32, 32), torch.Generator().manual_seed(0))
y = op(x)
start = op.spectral_start(y)
solution = gradient_descent(
    LeastSquares(op, y), start, step_size=0.1 / y.mean().item()
)
sign = torch.sign((solution.x * x).sum())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Phase retrieval from four times as many intensities as pixels, without noise: the spectral start is a poor guess, but close enough for gradient descent to find the image.", "name": "fig-phase"}, "image": {"alt": "Three small portraits: the original, a spectral start that looks like noise with a darker lower half, and the recovered image, equal to the original."}}
show_images(
    {
        "original": x,
        "spectral start": sign * start,
        "after descent": sign * solution.x,
    },
    truth=x,
)

# %% tags=["remove-cell"]
assert psnr(sign * solution.x, x) > 60

# %% [markdown]
# ## The same in deepinv
#
# The operators carry the method names of
# [deepinv](https://deepinv.github.io) {cite:p}`tachella2025deepinverse`, so
# its algorithms run on them (`to_deepinv` wraps an operator where deepinv checks
# the class), and its operators agree with ours. With deepinv installed:
#
# ```python
# from deepinv.physics import BlurFFT
#
# x, k = load_photo("camera", 128), gaussian_kernel(0.5)
# ours, theirs = Blur(k, (1, 128, 128)), BlurFFT((1, 128, 128), filter=k)
# y = ours.A(x)
# gap = max(
#     (y - theirs.A(x)).abs().max(),
#     (ours.A_dagger(y) - theirs.A_dagger(y)).abs().max(),
# )  # about 1e-6
# ```
#
# ## Go further
#
# * {cite:t}`hansen2006deblurring` is the friendliest book on deblurring;
#   {cite:t}`engl1996regularization` has the theory of ill-posed problems,
#   {cite:t}`bertero1998introduction` the imaging view.
# * {cite:t}`natterer2001mathematics` for tomography, {cite:t}`lustig2007sparse`
#   for MRI, {cite:t}`candes2008introduction` for random sums.
# * Replace the Gaussian by `airy_kernel` or `defocus_kernel` and predict the
#   noise gain: which one has exact zeros in its spectrum, and what does
#   `A_dagger` do there?
