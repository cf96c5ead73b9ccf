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
# # Smoothed total variation
#
# **You will see** why edges survive one penalty and not another, what a
# thousandth in one parameter costs in steps, stairs where there were slopes,
# and the inside of a kernel that runs nearly as fast as your memory.
#
# **You need** {doc}`chapter 2 <02_gradient_descent>` (step sizes) and
# {doc}`chapter 3 <03_tychonov_wiener>` (what we want to beat).

# %% tags=["hide-input"]
import math

import torch

from course_lib.book import budget_card
from course_lib.data import load_photo, load_photos
from course_lib.exercises import check_gradient, check_number_of_steps
from course_lib.experiments.roofline import time_of_one_iteration
from course_lib.finite_differences import gradient, gradient_adjoint
from course_lib.functionals import LeastSquares, SmoothedTV, Tychonov
from course_lib.inference.classical import oracle_tv_denoising
from course_lib.metrics import psnr
from course_lib.operators import (
    MRI,
    Blur,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    Tomography,
    bicubic_kernel,
    cartesian_mask,
    gaussian_kernel,
)
from course_lib.plotting import (
    compare,
    plot_bars,
    plot_curves,
    plot_history,
    show_images,
)
from course_lib.results import load_results
from course_lib.solvers import (
    accelerated_gradient,
    continuation,
    gradient_descent,
    oracle_weight,
    primal_dual_tv,
    project_consistent,
    tychonov,
)

# %% tags=["remove-input"]
budget_card("04_smoothed_tv")

# %% tags=["remove-cell"]
results = load_results("04_smoothed_tv")
results.glue()

# %% [markdown]
# ## The price of an edge
#
# Tychonov's penalty $\lVert\nabla u\rVert^2$ charges the *square* of every
# difference. One step of height 1 costs 1; the same rise spread over $m$
# pixels costs $m \cdot m^{-2} = 1/m$. Blurring an edge is rewarded. If the
# length $\lvert\nabla u\rvert$ is charged instead, the step and the ramp both
# cost 1, and so does every monotone way up: **total variation**
#
# $$ \operatorname{TV}(u) = \sum_x \lvert\nabla u(x)\rvert,
#    \qquad \lvert\nabla u(x)\rvert^2 = \lvert\partial_1 u(x)\rvert^2 +
#    \lvert\partial_2 u(x)\rvert^2 , $$ (eq-tv)
#
# {cite:p}`rudin1992nonlinear` has no opinion on how sharp an edge is, and
# leaves the question to the data. For a region of one grey level on another
# it is the height of the step times the length of the border, in the
# continuum; on a grid exactly so along rows and columns, and up to $\sqrt2$
# times too much along one of the diagonals.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a rise of height 1 costs when it is spread over more and more pixels: the squared penalty rewards blur, total variation does not care.", "name": "fig-price"}, "image": {"alt": "Two curves over the number of pixels: the squared penalty falls from 1 like one over m, total variation stays at 1."}}
m = torch.arange(1, 17)
plot_curves(
    m,
    {"squared, Σ|∂u|²": 1.0 / m, "total variation, Σ|∂u|": torch.ones(16)},
    "pixels over which the rise is spread",
    "price",
)

# %% [markdown]
# ## Smoothing the corner
#
# $\lvert\cdot\rvert$ has a corner at 0, just where most pixels of a
# photograph are, and gradient descent needs a gradient. So round it off:
#
# $$ \operatorname{TV}_\varepsilon(u) = \sum_x
#    \sqrt{\varepsilon^2 + \lvert\nabla u(x)\rvert^2}, \qquad
#    \nabla \operatorname{TV}_\varepsilon(u) = \nabla^\top\!\left(
#    \frac{\nabla u}{\sqrt{\varepsilon^2 + \lvert\nabla u\rvert^2}}
#    \right). $$ (eq-tveps)
#
# The root is taken pixel by pixel: $\lvert\nabla u\rvert$ is the length of
# the gradient *at one pixel*, not its norm over the image. Compare with
# Tychonov's gradient $2\nabla^\top\nabla u$: the diffusion of chapter 2, now
# divided by the local slope. It runs freely on flat ground and stops at
# edges.
#
# :::{exercise} The gradient of smoothed TV
# :label: ex-tv-gradient
#
# Write {eq}`eq-tveps` with `gradient(u)`, a field of shape `(2, B, C, H, W)`,
# and `gradient_adjoint`.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def tv_gradient(u, eps):
    ### BEGIN SOLUTION
    slope = gradient(u)
    length = (eps**2 + slope.square().sum(0)).sqrt()
    return gradient_adjoint(slope / length)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_gradient(
    SmoothedTV(1.0, eps=0.1), lambda u: tv_gradient(u, 0.1), (1, 9, 12)
)

# %% [markdown]
# ### How steep the gradient can be
#
# :::{prf:theorem} Lipschitz constant
# :label: thm-tv-lipschitz
#
# $\nabla\operatorname{TV}_\varepsilon$ is $8/\varepsilon$-Lipschitz. On
# images with even sides the constant is attained at every constant image, in
# the direction of the checkerboard.
# :::
#
# :::{prf:proof}
# With $\phi(v) = \sqrt{\varepsilon^2 + \lvert v\rvert^2}$, the Hessian is
# $\nabla^\top \operatorname{diag}(\phi''(\nabla u(x))) \nabla$ and
# $0 \preceq \phi'' \preceq \varepsilon^{-1} I$, with equality on the right at
# $v = 0$. Hence it is at most $\varepsilon^{-1}\nabla^\top\nabla$, whose
# norm is $\max \hat L = 8$, attained by the checkerboard.
# :::
#
# So descent on $\tfrac12\lVert u - y\rVert^2 +
# \lambda\operatorname{TV}_\varepsilon(u)$ may step up to $2/(1 +
# 8\lambda/\varepsilon)$: the rounder the corner, the longer the step. Is
# the bound pessimistic? For noise it is, as the power method on the Hessian
# shows; a photograph has flat regions, and attains it nearly.

# %% tags=["nbval-check-output"]
x = load_photo("camera", 128).double()
size = tuple(x.shape[1:])


def top_curvature(u, penalty, steps=300):
    seed = torch.Generator().manual_seed(0)
    v, h = torch.randn(u.shape, generator=seed).double(), 1e-6
    for _ in range(steps):
        # The Hessian along v, by a central difference of the gradient.
        v = v / v.norm()
        ahead, behind = penalty.grad(u + h * v), penalty.grad(u - h * v)
        v = (ahead - behind) / (2 * h)
    return v.norm().item()


penalty = SmoothedTV(1.0, eps=0.1)
rough = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
curvature = {
    "a constant image": top_curvature(torch.full_like(x, 0.5), penalty),
    "a photograph": top_curvature(x, penalty),
    "uniform noise": top_curvature(rough.double(), penalty),
}
print(f"8 / eps = {penalty.lipschitz:.1f}")
for name, value in curvature.items():
    print(f"measured at {name}: {value:.1f}")

# %% tags=["remove-cell"]
flat, photo, noisy = curvature.values()
assert abs(flat - 80) < 0.2
assert noisy < 60 < photo < 80

# %% [markdown]
# ## Noisy, Tychonov, total variation
#
# With noise of standard deviation 0.1, and the best parameters for each
# method (found with the truth, for a fair fight):

# %%
photos = load_photos(["camera", "grace_hopper", "coins"], 192)
x = photos.images
op = Denoising(tuple(x.shape[1:]), GaussianNoise(0.1))
y = op(x, generator=torch.Generator().manual_seed(7))
lams = torch.logspace(-5, 2, 71)
smooth = tychonov(op, y, oracle_weight(op, y, x, lams)).x
tv, _ = oracle_tv_denoising(y, x, 0.1)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Denoising with noise 0.1: Tychonov's filter must choose between noise and soft edges, smoothed total variation keeps the edges and flattens what lies between. PSNR below.", "name": "fig-denoise"}, "image": {"alt": "Three rows of photographs, each original, noisy, Tychonov and total variation: Tychonov is soft and still grainy, total variation has sharp edges and flat areas."}}
show_images(
    [v for i in range(3) for v in (x[i], y[i], smooth[i], tv[i])],
    ["original", "noisy", "Tychonov", "total variation"] + [""] * 8,
    captions=[
        text
        for i in range(3)
        for text in (
            "",
            *(
                f"{psnr(v[i : i + 1], x[i : i + 1]).item():.2f} dB"
                for v in (y, smooth, tv)
            ),
        )
    ],
    columns=4,
)

# %% tags=["remove-cell"]
assert (psnr(smooth, x) > psnr(y, x)).all()
assert (psnr(tv, x) > psnr(smooth, x)).all()

# %% tags=["hide-input"]
compare(
    smooth[:1],
    tv[:1],
    labels=("Tychonov", "total variation"),
    truth=x[:1],
    alt="A slider between Tychonov's soft and grainy estimate of the "
    "photographer and the one of total variation with clean edges.",
    caption="The photographer, denoised by Tychonov (left) and by smoothed "
    "total variation (right).",
)

# %% [markdown]
# The order is the same on each of the twelve photographs below; only its
# margin depends on what is in them. Grass and gravel have no flat regions to win, and the tuned
# $\varepsilon$ is large there: TV turns back into Tychonov.

# %% tags=["hide-input"]
methods = {
    "noisy": "noisy",
    "tychonov": "Tychonov",
    "tv": "smoothed TV",
    "eps": "ε chosen",
}
labels = {
    key.removeprefix("denoise_tv_"): key.removeprefix("denoise_tv_")
    for key in results
    if key.startswith("denoise_tv_")
}
results.table(labels, methods, "denoise_{column}_{row}", ".4g", missing="–")

# %% [markdown]
# ## What ε decides
#
# At slopes far below $\varepsilon$ the penalty is $\lvert\nabla
# u\rvert^2/(2\varepsilon)$, Tychonov; far above it is TV. Small
# $\varepsilon$ gives sharper edges, **staircases** where the original has
# slopes (a flight of steps costs no more than the slope), and a steeper
# gradient: more iterations. ($\lambda$ is lowered along with $\varepsilon$,
# so that the three smooth about as much. In the table above the smallest
# $\varepsilon$ on offer, 0.003, won for most photographs.)

# %%
x = load_photos(["rocket", "grace_hopper"], 192).images
op = Denoising((1, 192, 192), GaussianNoise(0.1))
y = op(x, generator=torch.Generator().manual_seed(1))
shown, steps = {"original": x, "noisy": y}, {}
for eps, lam in ((0.3, 0.5), (0.03, 0.12), (0.003, 0.1)):
    f = LeastSquares(op, y) + SmoothedTV(lam, eps)
    run = accelerated_gradient(f, y, max_iter=3000, rtol=1e-5)
    shown[f"ε = {eps}"] = run.x
    steps[eps] = run.iterations
print("iterations:", steps)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two details with slow gradients, the sky above a rocket and the wall beside a cap, noise 0.1, contrast raised. Large ε leaves Tychonov's grain, small ε turns the slopes into terraces.", "name": "fig-stairs"}, "image": {"alt": "Two rows of five details: smooth original, noise, grainy restoration for large epsilon, less grain, and for the smallest epsilon flat patches with borders like contour lines."}}
sky, wall = (slice(4, 68), slice(4, 68)), (slice(4, 68), slice(120, 184))
show_images(
    [(u[0][:, *sky] - 0.25) * 6 + 0.5 for u in shown.values()]
    + [(u[1][:, *wall] - 0.45) * 3 + 0.5 for u in shown.values()],
    [*shown, *[""] * 5],
    columns=5,
)

# %% [markdown]
# ## How fast the image arrives
#
# The data term makes denoising strongly convex, and chapter 2 has a theorem for that.
#
# :::{prf:proposition} Denoising contracts
# :label: prop-tv-contraction
#
# Let $f(u) = \tfrac12\lVert u - y\rVert^2 + \lambda
# \operatorname{TV}_\varepsilon(u)$ and $L = 1 + 8\lambda/\varepsilon$. It has one
# minimiser $u^\star$, and descent with the step $1/L$ obeys
#
# $$ \lVert u_n - u^\star\rVert^2 \le
#    \bigl(1 - \tfrac1L\bigr)^n \lVert u_0 - u^\star\rVert^2 . $$ (eq-tv-contraction)
# :::
#
# :::{prf:proof}
# $\phi'' \succeq 0$, so $\operatorname{TV}_\varepsilon$ is convex and $f$ is
# 1-strongly convex: it grows at infinity, and it has one minimiser. By
# {prf:ref}`thm-tv-lipschitz` $\nabla f$ is $L$-Lipschitz. Put $\alpha = 1$ and
# $\tau = 1/L$ into {prf:ref}`thm-iterates`.
# :::
#
# A smaller $\varepsilon$ needs more steps, as the bound says. Both images arrive
# sooner than it promises: it counts on a mode in which total variation has no
# curvature at all.

# %%
x = load_photo("camera", 128).double()
op = Denoising(size, GaussianNoise(0.1))
y = op(x, generator=torch.Generator().manual_seed(2))
away, bounds = {}, {}
for eps in (0.1, 0.02):
    f = LeastSquares(op, y) + SmoothedTV(0.1, eps)
    end = accelerated_gradient(f, y, max_iter=5000, rtol=1e-14).x
    run = gradient_descent(f, y, max_iter=200, rtol=0, goal=end)
    d = run.history["distance"][:, 0]
    away[f"ε = {eps}"] = d / d[0]
    rate = 1 - 1 / f.lipschitz
    bounds[f"ε = {eps}"] = rate ** (torch.arange(201.0).double() / 2)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the iterates from the minimiser in denoising with the weight $0.1$, as a share of the first distance (thick), and the bound of the proposition (thin).", "name": "fig-tv-contraction"}, "image": {"alt": "Two falling curves on a logarithmic axis, each below a dashed straight line."}}
plot_history(away, bounds=bounds, ylabel="|uₙ − u*| / |u₀ − u*|")

# %% tags=["remove-cell"]
assert all((away[k] <= bounds[k] + 1e-9).all() for k in away)

# %% [markdown]
# :::{exercise} How many steps
# :label: ex-tv-steps
#
# By {eq}`eq-tv-contraction`, after how many steps is the distance from the
# minimiser sure to be at most `r` times the first distance? Return the least
# such number.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def number_of_steps(lam, eps, r):
    ### BEGIN SOLUTION
    rate = 1 - 1 / (1 + 8 * lam / eps)
    return math.ceil(2 * math.log(r) / math.log(rate))
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_number_of_steps(number_of_steps)

# %% [markdown]
# ## Getting there fast
#
# To come closer by a factor $e$, plain descent needs up to $\kappa = 1 +
# 8\lambda/\varepsilon$ steps, acceleration about $\sqrt\kappa$. FISTA {cite:p}`beck2009fista` steps from a
# point ahead of the iterate; when the step turns against the momentum, the
# momentum starts again {cite:p}`odonoghue2015adaptive`. **Continuation**
# solves for a large $\varepsilon$ first and lowers it. And a **primal-dual**
# method {cite:p}`chambolle2011firstorder` solves the problem with
# $\varepsilon = 0$ exactly: it is our reference.

# %%
x = load_photo("camera", 128).double()
op = Denoising(size, GaussianNoise(0.1))
y = op(x, generator=torch.Generator().manual_seed(2))
lam, eps, n = 0.1, 0.002, 400
f = LeastSquares(op, y) + SmoothedTV(lam, eps)
best = accelerated_gradient(f, y, max_iter=20000, rtol=1e-13)
floor = best.history["objective"].min().item()
runs = {
    "gradient descent": gradient_descent(f, y, max_iter=n, rtol=0),
    "accelerated": accelerated_gradient(f, y, max_iter=n, rtol=0),
}
easier = continuation(
    lambda level: LeastSquares(op, y) + SmoothedTV(lam, level),
    y,
    [8 * eps, 2 * eps],
    max_iter=30,
    rtol=0,
)
last = accelerated_gradient(f, easier.x, max_iter=n - 60, rtol=0)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the objective (ε = 0.002, condition number 401) from its minimum. Continuation first minimises with 8 ε and 2 ε, thirty steps each (not shown), and enters this race far ahead.", "name": "fig-fast"}, "image": {"alt": "Three curves on a logarithmic axis: plain descent hardly falls, acceleration falls in waves to 1e-10 after 400 steps, continuation starts at step 60 and stays one to two powers of ten below it."}}
curves = {label: run.history["objective"][:, 0] for label, run in runs.items()}
skipped = torch.full((60,), torch.nan, dtype=torch.float64)
ahead = last.history["objective"][:, 0]
curves["accelerated, continuation"] = torch.cat((skipped, ahead))
plot_history(
    {label: (v - floor).clamp(min=1e-11) for label, v in curves.items()},
    ylabel="f(uₙ) − min f",
)

# %%
exact = primal_dual_tv(op, y, lam, max_iter=2000, rtol=1e-8)
gap = (best.x - exact.x).square().mean().sqrt().item()
print(f"rms distance of the smoothed from the exact minimiser: {gap:.1e}")

# %% tags=["remove-cell"]
assert gap < 5e-3
assert last.history["objective"].min() - floor < 1e-8
assert runs["accelerated"].history["objective"][200] - floor < 1e-2
assert runs["gradient descent"].history["objective"][200] - floor > 1

# %% [markdown]
# ## Beyond denoising
#
# Nothing above needs $A = I$: descent asks for $A^\top(A u - y)$ only, and
# $L = \lVert A\rVert^2 + 8\lambda/\varepsilon$. One line of code serves every
# instrument of chapter 1.

# %%
x = load_photo("grace_hopper", 128)
g = torch.Generator().manual_seed(3)
noise = GaussianNoise(0.01)
tasks = {
    "blur": (Blur(gaussian_kernel(1.5), size, noise), 0.0015),
    "coarse sensor": (
        Downsampling(size, 4, bicubic_kernel(4), noise),
        0.0005,
    ),
    "MRI": (MRI(cartesian_mask((128, 128), 3, g), size, None, noise), 0.002),
    "tomography": (Tomography(size, 30, GaussianNoise(0.2)), 0.3),
}
start, restored = {}, {}
for name, (op, lam) in tasks.items():
    y = op(x, generator=g)
    f = LeastSquares(op, y) + SmoothedTV(lam, 0.01)
    sent_back = op.A_dagger if name == "coarse sensor" else op.A_adjoint
    start[name] = sent_back(y)
    restored[name] = accelerated_gradient(
        f, torch.zeros_like(x), max_iter=400
    ).x
start["tomography"] = op.filtered_backprojection(y)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One program, four instruments: data sent back to the image grid (top; pseudo-inverse for the coarse sensor, filtered backprojection for tomography) and the estimate with smoothed total variation (bottom). PSNR below.", "name": "fig-tasks"}, "image": {"alt": "Four columns for blur, coarse sensor, MRI and tomography: above blurred, coarse, ghosted and streaked portraits, below four cleaner portraits with sharp edges, the one from the coarse sensor still soft."}}
show_images(
    [*start.values(), *restored.values()],
    [*start, *[""] * 4],
    truth=x,
    columns=4,
)

# %% tags=["remove-cell"]
assert all(
    (psnr(restored[k], x) > psnr(start[k], x) + 0.5).all() for k in tasks
)

# %% [markdown]
# On 100 test photographs of BSDS500 {cite:p}`arbelaez2011contour`, with the
# best weight for each, total variation reaches
# {glue:text}`deblur_tv_mean:.2f` dB for deblurring and Tychonov
# {glue:text}`deblur_tychonov_mean:.2f` dB (data:
# {glue:text}`deblur_observed_mean:.2f` dB): a gain of
# {glue:text}`deblur_gain:.2f` ± {glue:text}`deblur_gain_interval:.2f` dB, a
# 95 % interval. For denoising at noise 0.1 they reach
# {glue:text}`denoise_tv_mean:.2f` and {glue:text}`denoise_tychonov_mean:.2f`
# dB, a gain of {glue:text}`denoise_gain:.2f` ±
# {glue:text}`denoise_gain_interval:.2f` dB.
#
# ### Lost pixels, kept exactly
#
# Without noise the known pixels are a constraint: projected gradient, with
# TV in place of the rubber sheet of chapter 2. TV can bridge a scratch and
# keep the edge that crosses it.

# %%
x = load_photo("camera", 128).double()
lost = torch.rand(1, 128, 128, generator=g) < 0.4
lost[..., 60:66, :] = True  # a scratch, six pixels wide
mask = Inpainting(~lost)
y = mask(x)
project = project_consistent(mask, y)
sheet = gradient_descent(Tychonov(0.5), y, max_iter=1500, project=project)
edges = accelerated_gradient(
    SmoothedTV(1.0, 0.01), sheet.x, max_iter=1200, rtol=0, project=project
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Forty percent of the pixels and a scratch are lost. The harmonic extension smears edges across the scratch, total variation closes them with a short border.", "name": "fig-scratch"}, "image": {"alt": "Four panels of the photographer: original, with lost pixels and a black stripe, the harmonic extension with a blurry stripe, and total variation with edges that cross the stripe."}}
show_images(
    {
        "original": x,
        "seen": y,
        "harmonic extension": sheet.x,
        "total variation": edges.x,
    },
    truth=x,
    zoom=(46, 40, 34, 34),
)

# %% tags=["remove-cell"]
assert psnr(edges.x, x) > psnr(sheet.x, x)

# %% [markdown]
# How do we know that descent has arrived? A point of the constrained problem
# is a minimiser if and only if the gradient of $\operatorname{TV}_\varepsilon$
# vanishes on the *lost* pixels; on the known ones it may be anything. (The
# harmonic extension solves another problem.)

# %%
for name, u in {"harmonic": sheet.x, "total variation": edges.x}.items():
    slope = SmoothedTV(1.0, 0.01).grad(u)[0][lost].abs().max()
    print(f"{name:16s} largest gradient on lost pixels {slope:.0e}")

# %% tags=["remove-cell"]
assert slope < 1e-6

# %% [markdown]
# {prf:ref}`thm-projected` promises more: on the way the distance to the
# minimiser never rises, for any step below $2/L$, here $L = 8/\varepsilon$.

# %% tags=["nbval-check-output"]
way = gradient_descent(
    SmoothedTV(1.0, 0.01),
    sheet.x,
    step_size=1.9 * 0.01 / 8,
    max_iter=500,
    rtol=0,
    project=project,
    goal=edges.x,
)
d = way.history["distance"][:, 0]
print("ever farther than a step before:", bool((d[1:] > d[:-1]).any()))
print(f"after 500 steps: {d[-1] / d[0]:.2f} of the first distance")

# %% [markdown]
# :::{exercise} The gradient that counts
# :label: ex-tv-kkt
#
# Let $v$ hold the values of the lost pixels (its other entries are ignored).
# Write the gradient of $v \mapsto \operatorname{TV}_\varepsilon(u)$, where
# $u$ is $v$ on the lost pixels and `known` elsewhere.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def gradient_on_lost_pixels(v, known, lost, eps):
    ### BEGIN SOLUTION
    u = torch.where(lost, v, known)
    return torch.where(lost, tv_gradient(u, eps), 0)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
holes = torch.rand(9, 12, generator=torch.Generator().manual_seed(6)) < 0.5
around = torch.linspace(0, 1, 12).double()
check_gradient(
    lambda v: SmoothedTV(1.0, 0.1)(torch.where(holes, v, around)),
    lambda v: gradient_on_lost_pixels(v, around, holes, 0.1),
    (1, 9, 12),
)

# %% [markdown]
# :::{exercise} Huber's corner
# :label: ex-huber
#
# Huber's function rounds the corner with a parabola: $\phi(s) =
# s^2/(2\varepsilon)$ for $s \le \varepsilon$ and $s - \varepsilon/2$ beyond.
# Write the gradient of $\sum_x \phi(\lvert\nabla u(x)\rvert)$.
# :::


# %%
def huber_value(u, eps):
    s = gradient(u).square().sum(0).sqrt()
    corner = torch.where(s <= eps, s**2 / (2 * eps), s - eps / 2)
    return corner.flatten(1).sum(1)


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def huber_gradient(u, eps):
    ### BEGIN SOLUTION
    # phi'(s) p / s is p / eps in the parabola and p / s beyond it.
    slope = gradient(u)
    length = slope.square().sum(0).sqrt()
    return gradient_adjoint(slope / length.clamp(min=eps))
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_gradient(
    lambda u: huber_value(u, 1.0), lambda u: huber_gradient(u, 1.0), (1, 9, 12)
)

# %% [markdown]
# ## Inside the kernel
#
# An iteration reads $u$ and $y$ and writes the new $u$: twelve bytes a pixel
# in single precision. The arithmetic (one square root and one division a
# pixel) hides behind the memory, if the program lets it. PyTorch runs the ten
# lines of `kernels/smoothed_tv/_reference.py` operation by operation, and
# each writes a whole image to memory for the next to read. The **fused**
# kernel goes through the image once, row by row, and keeps
# $\nabla u/\sqrt{\varepsilon^2+\lvert\nabla u\rvert^2}$ of two rows in the
# nearest cache. The formula is the same; a test compares the two to the last
# digits.

# %%
times = time_of_one_iteration(side=2048)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One iteration of denoising, without momentum, on a 2048 x 2048 image, on the machine that ran this page, in nanoseconds a pixel: PyTorch operation by operation, the fused kernel, and the sum of two images, which moves the same bytes and is the floor.", "name": "fig-roofline"}, "image": {"alt": "Three bars: eager PyTorch is by far the longest, the fused kernel is several times shorter, the plain copy is the shortest."}}
plot_bars(times, "nanoseconds a pixel and iteration")

# %% [markdown]
# Speed in one iteration is worth what it buys: the time to an answer. The
# stored benchmark (`benchmarks/smoothed_tv.py`, one thread, one run) takes
# each method to within $10^{-4}$ of the least objective of exact total
# variation, ours by continuation in $\varepsilon$. The others take this many
# times as long:

# %% tags=["hide-input"]
load_results("benchmarks_tv").table(
    {
        "chambolle": "scikit-image, denoise_tv_chambolle",
        "deepinv": "deepinv, TVDenoiser",
    },
    {
        "512_grey": "512², grey",
        "512_colour": "512², colour",
        "2048_grey": "2048², grey",
        "2048_colour": "2048², colour",
    },
    "denoise_{column}_vs_{row}",
    ".0f",
)

# %% [markdown]
# On a GPU the same iteration is a Triton program
# (`kernels/smoothed_tv/_triton.py`). One iteration in a stored run on an H200
# (`benchmarks/gpu.py`), by its time over ours; below 1 is faster:

# %% tags=["hide-input"]
load_results("benchmarks_gpu").table(
    {
        "eager": "PyTorch, operation by operation",
        "compile": "the same under torch.compile",
        "copy": "the sum of two images",
    },
    {"2048": "2048²", "4096": "4096²"},
    "iteration_{column}_vs_{row}",
    ".2f",
)

# %% [markdown]
# On a large image a compiler that fuses the operations comes close by itself:
# what costs time is how often memory is read and written. On smaller ones the
# launch of the programs counts as well.
#
# ## The same in deepinv
#
# deepinv counts differences across the border as zero (Neumann), which our
# kernel offers too:
#
# ```python
# from deepinv.optim import SmoothedTVPrior
# from course_lib.kernels.smoothed_tv import smoothed_tv_grad
#
# u = load_photo("camera", 128)
# ours = smoothed_tv_grad(u, 0.01, boundary="neumann")
# gap = (SmoothedTVPrior(eps=0.01).grad(u) - ours).abs().max()
# ```
#
# ## Go further
#
# * {cite:t}`rudin1992nonlinear` started it; {cite:t}`chambolle2016introduction`
#   has the whole family of solvers.
# * Give each colour the *same* edges: couple the three channels under one
#   root. What changes in the gradient?
# * Denoise with `huber_gradient` in place of `tv_gradient`. Its Lipschitz
#   constant is the same. Which has fewer staircases?
