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
# # Gradient descent
#
# **You will see** an inequality of one line that decides which steps are
# safe, measured rates beside their bounds, an image that explodes because the
# step is half a percent too long, and a photograph that melts.
#
# **You need** {doc}`chapter 1 <01_inverse_problems>` and gradients in several
# variables.

# %% tags=["hide-input"]
import torch

from course_lib.book import budget_card
from course_lib.data import load_photo
from course_lib.exercises import (
    check_gradient,
    check_heat,
    check_projected_gradient,
    check_step_bound,
)
from course_lib.finite_differences import laplacian, laplacian_symbol
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.metrics import psnr
from course_lib.operators import (
    Blur,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    bicubic_kernel,
    gaussian_kernel,
)
from course_lib.plotting import (
    compare,
    plot_curves,
    plot_history,
    plot_paths,
    show_images,
)
from course_lib.results import load_results
from course_lib.solvers import (
    conjugate_gradient,
    gradient_descent,
    hessian_spectrum,
    project_consistent,
    tychonov,
)

# %% tags=["remove-input"]
budget_card("02_gradient_descent")

# %% tags=["remove-cell"]
results = load_results("02_gradient_descent")
results.glue()

# %% [markdown]
# ## A problem whose answer is known
#
# Take a blurred, noisy photograph $y$ and ask for an image that explains it
# and is smooth:
#
# $$ f(u) = \tfrac12 \lVert A u - y \rVert^2
#    + \lambda \lVert \nabla u \rVert^2, \qquad
#    \nabla f(u) = A^\top (A u - y) - 2\lambda\,\Delta u. $$ (eq-f)
#
# Here $\nabla u$ holds the forward differences of $u$ along rows and columns
# and $\Delta = -\nabla^\top \nabla$ is the five-point Laplacian. The next
# chapter finds the minimiser $u^\star$ in closed form. This is why the
# problem is ours for this chapter: we can watch how descent approaches an
# answer that we know.

# %%
x = load_photo("camera", 128).double()
size = tuple(x.shape[1:])
kernel = gaussian_kernel(1.5, dtype=torch.float64)
op = Blur(kernel, size, GaussianNoise(0.03))
y = op(x, generator=torch.Generator().manual_seed(3))
lam = 0.01
f = LeastSquares(op, y) + Tychonov(lam)
u_star = tychonov(op, y, lam).x
print(f"|grad f(u*)| = {f.grad(u_star).norm():.0e}")
assert f.grad(u_star).norm() < 1e-10

# %% [markdown]
# ### By hand or by machine?
#
# Automatic differentiation finds the same gradient from $f$ alone. It pays by
# keeping every intermediate image in memory. In this course gradients that
# have a formula are written by hand, since the formula is what one learns
# from, and a test compares them with the machine's.

# %%
u = torch.rand(2, *size, dtype=torch.float64)
u.requires_grad_()
(automatic,) = torch.autograd.grad(f(u).sum(), u)
gap = (automatic - f.grad(u)).norm() / automatic.norm()
print(f"relative difference: {gap:.0e}")
assert gap < 1e-14

# %% [markdown]
# :::{exercise} A gradient by hand
# :label: ex-gradient
#
# Let $g(u) = \tfrac12\lVert u \rVert^2 + 3\sum (u(i, j+1) - u(i, j))^2$, with
# differences along the rows only, periodic. Write $\nabla g$.
# :::


# %%
def g_value(u):
    difference = u.roll(-1, -1) - u
    return (u.square() / 2 + 3 * difference.square()).flatten(1).sum(1)


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def g_gradient(u):
    ### BEGIN SOLUTION
    # D u = u(. + 1) - u, so D^T p = p(. - 1) - p, and the gradient of
    # 3 |D u|^2 is 6 D^T D u.
    difference = u.roll(-1, -1) - u
    return u + 6 * (difference.roll(1, -1) - difference)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_gradient(g_value, g_gradient, (1, 9, 12))

# %% [markdown]
# ## How far may one step go?
#
# The gradient says where to go, not how far. What limits the step is how fast
# the gradient itself can change: $\nabla f$ is **$L$-Lipschitz** if
# $\lVert \nabla f(u) - \nabla f(v) \rVert \le L \lVert u - v\rVert$. It is
# the gradient that must be Lipschitz; $f$ itself is not, being quadratic.
#
# :::{prf:lemma} Descent lemma
# :label: lem-descent
#
# If $\nabla f$ is $L$-Lipschitz, then for all $u$ and $v$
#
# $$ f(v) \le f(u) + \langle \nabla f(u), v - u\rangle
#    + \tfrac L2 \lVert v - u\rVert^2 . $$
#
# In particular a gradient step $v = u - \tau\nabla f(u)$ gives
#
# $$ f(v) \le f(u) - \tau\bigl(1 - \tfrac{\tau L}2\bigr)
#    \lVert\nabla f(u)\rVert^2, $$ (eq-decrease)
#
# so $f$ decreases for every $0 < \tau < 2/L$, and the guarantee is largest
# at $\tau = 1/L$.
# :::
#
# :::{prf:proof}
# With $u_t = u + t(v - u)$ and the fundamental theorem of calculus,
#
# $$ \begin{aligned} f(v) - f(u) - \langle\nabla f(u), v - u\rangle
#    &= \int_0^1 \langle \nabla f(u_t) - \nabla f(u), v - u\rangle\, dt \\
#    &\le \int_0^1 L t \lVert v - u \rVert^2\, dt
#    = \tfrac L2 \lVert v - u\rVert^2 . \end{aligned} $$
# :::
#
# For our $f$ the Hessian $A^\top A - 2\lambda\Delta$ is a convolution, so its
# eigenvalues are the numbers $\lvert\hat h\rvert^2 + 2\lambda \hat L$ with
# $\hat L(\xi) = 4\sin^2(\pi\xi_1) + 4\sin^2(\pi\xi_2)$, the Fourier symbol
# (not the kernel) of $-\Delta$. The largest is $L$, the smallest is the
# **strong convexity** $\alpha$, and $\kappa = L / \alpha$ is the **condition
# number**. Without a formula one uses the bound
# $\lVert A\rVert^2 + 16\lambda$, which is `f.lipschitz`.

# %% tags=["nbval-check-output"]
eigenvalues = hessian_spectrum(op, lam, size[1:])
L, alpha = eigenvalues.max().item(), eigenvalues.min().item()
print(f"L = {L:.3f} (bound {f.lipschitz:.3f}), alpha = {alpha:.4f}")
print(f"condition number {L / alpha:.1f}")

# %%
gradient = f.grad(y)
taus = torch.linspace(0, 2.4 / L, 60, dtype=torch.float64)
along = torch.cat([f(y - tau * gradient) for tau in taus])
decrease = taus * (1 - taus * L / 2) * gradient.square().sum()
assert (along <= f(y) - decrease + 1e-12).all()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The objective along the negative gradient at u = y, and the parabola of the descent lemma that lies above it. The lemma promises descent up to 2/L; the best step along this line is longer than 1/L.", "name": "fig-lemma"}, "image": {"alt": "Two parabolas that touch at step 0: the upper one returns to its start at step 2/L, the lower one, the objective, falls further and has its minimum to the right of 1/L."}}
best = along.argmin()
plot_curves(
    taus * L,
    {"f(y − τ∇f(y))": along, "upper bound": f(y) - decrease},
    "τ L",
    "objective",
    marks={"best step": (taus[best] * L, along[best])},
    dashed=("upper bound",),
)

# %% [markdown]
# ## Fixed steps, and one step too far
#
# On a quadratic function each eigenvector of the Hessian lives its own life:
# its error is multiplied by $1 - \tau\mu$ at each step, $\mu$ the eigenvalue.
# All factors are below 1 in size exactly if $\tau < 2/L$. At $1.99/L$ the top
# mode shrinks by the factor $-0.99$; at $2.01/L$ it grows by $-1.01$. (This
# needs $\alpha > 0$; a mode with $\mu = 0$ stays as it is.)

# %%
strong = LeastSquares(op, y) + Tychonov(0.1)
strong_L = hessian_spectrum(op, 0.1, size[1:]).max().item()
floor = strong(tychonov(op, y, 0.1).x).item()
runs = {
    f"τ = {factor}/L": gradient_descent(
        strong, y, step_size=factor / strong_L, max_iter=400, rtol=0
    )
    for factor in (0.5, 1.0, 1.99, 2.01)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the objective from its minimum (λ = 0.1) for four fixed steps. Between 1.99/L and 2.01/L lies the border between slow convergence and explosion.", "name": "fig-steps"}, "image": {"alt": "Four curves on a logarithmic axis: steps 0.5/L and 1/L fall fast to rounding level, 1.99/L falls slowly, 2.01/L falls at first and then rises without end."}}
gaps = {
    label: (run.history["objective"] - floor).clamp(min=1e-14)
    for label, run in runs.items()
}
plot_history(gaps, ylabel="f(uₙ) − f(u*)")

# %% tags=["remove-cell"]
assert gaps["τ = 1.99/L"][-1] < 0.1 * gaps["τ = 1.99/L"][100]
assert gaps["τ = 2.01/L"][-1] > 10 * gaps["τ = 2.01/L"][100]

# %% [markdown]
# Which mode explodes? The one with the largest eigenvalue: here, since the
# blur leaves nothing at the highest frequency and the regulariser is
# strongest there, the checkerboard.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Iterates with the step 2.01/L. The error of the top eigenvector, a checkerboard of one pixel, grows by one percent a step until it covers the image.", "name": "fig-explosion"}, "image": {"alt": "Four states of the photograph: smooth after 100 steps, with a faint checkerboard after 500, covered by it after 700, and hardly recognisable behind it after 900."}}
steps = (100, 500, 700, 900)
show_images(
    {
        f"n = {n}": gradient_descent(
            strong, y, step_size=2.01 / strong_L, max_iter=n, rtol=0
        ).x
        for n in steps
    },
    zoom=(24, 44, 20, 20),
)

# %% [markdown]
# :::{exercise} The longest safe step
# :label: ex-step
#
# Without `hessian_spectrum`, write the exact bound $2/L$ for $\tfrac12\lVert A u - y\rVert^2 +
# \lambda\lVert\nabla u\rVert^2$ with a blur `op` on images of size
# `(H, W)`. The check runs descent just below and just above your bound.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def longest_step(op, lam, size):
    ### BEGIN SOLUTION
    k_hat = op.transfer
    symbol = laplacian_symbol(size)
    return 2 / (k_hat.abs().square() + 2 * lam * symbol).max().item()
    ### END SOLUTION


# %% tags=["nbval-check-output"]
small = Blur(gaussian_kernel(1.0, 5, torch.float64), (1, 12, 10))
hvp = (LeastSquares(small, torch.zeros(1, 1, 12, 10)) + Tychonov(0.2)).hvp
check_step_bound(lambda: longest_step(small, 0.2, (12, 10)), hvp, (1, 12, 10))

# %% [markdown]
# ## How fast? Bounds and measurements
#
# :::{prf:theorem} Rates of the fixed step
# :label: thm-rates
#
# Let $f$ be convex with $L$-Lipschitz gradient, $u^\star$ a minimiser, and
# $\tau = 1/L$. Then
#
# $$ f(u_n) - f(u^\star) \le \frac{2 L \lVert u_0 - u^\star\rVert^2}{n + 4} .
# $$ (eq-sublinear)
#
# If moreover $f$ is $\alpha$-strongly convex and $0 < \tau \le 1/L$, then
#
# $$ f(u_n) - f(u^\star) \le (1 - \tau\alpha)^n
#    \bigl(f(u_0) - f(u^\star)\bigr) . $$ (eq-linear)
# :::
#
# :::{prf:proof}
# For {eq}`eq-sublinear` see {cite:t}`nesterov2004introductory`, section
# 2.1.5. For {eq}`eq-linear`: minimising both sides of the strong convexity
# inequality $f(v) \ge f(u) + \langle\nabla f(u), v - u\rangle +
# \tfrac\alpha2\lVert v-u\rVert^2$ over $v$ gives
# $\lVert\nabla f(u)\rVert^2 \ge 2\alpha\,(f(u) - f(u^\star))$; put this into
# {eq}`eq-decrease` with $1 - \tau L/2 \ge \tfrac12$.
# :::
#
# The **optimal step** minimises $f$ along the gradient. For a quadratic with
# Hessian $H$ it is $\tau_n = \lVert\nabla f\rVert^2 / \langle\nabla f, H\,\nabla f\rangle$; it
# needs neither $L$ nor $\alpha$, and satisfies
# $f(u_{n+1}) - f(u^\star) \le \bigl(\tfrac{\kappa-1}{\kappa+1}\bigr)^2
# (f(u_n) - f(u^\star))$ {cite:p}`nocedal2006numerical`.

# %%
n = 120
zero = torch.zeros_like(y)
fixed = gradient_descent(f, zero, step_size=1 / L, max_iter=n, rtol=0)
optimal = gradient_descent(f, zero, step_size="optimal", max_iter=n, rtol=0)
lowest = f(u_star).item()
start_gap = f(zero).item() - lowest
powers = torch.arange(n + 1, dtype=torch.float64)
kappa = L / alpha
bounds = {
    "fixed 1/L": start_gap * (1 - alpha / L) ** powers,
    "optimal": start_gap * ((kappa - 1) / (kappa + 1)) ** (2 * powers),
}
found = {
    label: (run.history["objective"] - lowest)[:, 0]
    for label, run in {"fixed 1/L": fixed, "optimal": optimal}.items()
}
assert all((found[k] <= bounds[k] + 1e-11).all() for k in bounds)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The strongly convex case: measured gaps (thick) under the bounds of the theorem (thin). Both are straight lines in the end: linear convergence.", "name": "fig-linear"}, "image": {"alt": "Two falling curves on a logarithmic axis, each below its dashed straight bound; the optimal step falls faster than the fixed step."}}
shown = {label: gap.clamp(min=1e-12) for label, gap in found.items()}
plot_history(shown, bounds=bounds, ylabel="f(uₙ) − f(u*)")

# %% [markdown]
# The measured slope of the fixed step is twice that of its bound. The theorem
# holds for every strongly convex $f$; for a quadratic each mode's error
# shrinks by $1 - \tau\alpha$, and the objective by its square.

# %% [markdown]
# Take the regulariser away, and $\alpha$ is practically zero: some
# frequencies of a blurred image decay so slowly that only the sublinear bound
# {eq}`eq-sublinear` is left.

# %%
bare = LeastSquares(op, op.A(x))  # no noise: the minimum is 0, at x
n = 1000
run = gradient_descent(bare, zero, step_size=1, max_iter=n, rtol=0)
steps = torch.arange(1, n + 1)
bound = 2 * x.square().sum() / (steps + 4)
assert (run.history["objective"][1:, 0] <= bound).all()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The merely convex case, noise-free deblurring without regulariser: on doubly logarithmic axes the objective falls a little faster than the bound, whose slope is -1.", "name": "fig-sublinear"}, "image": {"alt": "On doubly logarithmic axes the objective falls as a nearly straight line, well below the dashed bound of slope minus one."}}
plot_curves(
    steps,
    {"f(uₙ)": run.history["objective"][1:, 0], "2L|u₀ − x|²/(n + 4)": bound},
    "iteration",
    "objective",
    log="xy",
    dashed=("2L|u₀ − x|²/(n + 4)",),
)

# %% [markdown]
# ### Where the iterates go
#
# Both bounds are about $f$. The image is what we look at, and its distance
# from a minimiser obeys a theorem of its own.
#
# :::{prf:theorem} The iterates
# :label: thm-iterates
#
# Let $f$ be convex with $L$-Lipschitz gradient, and let it have minimisers.
#
# 1. For $0 < \tau < 2/L$ the distance $\lVert u_n - u^\star\rVert$ to *each*
#    minimiser $u^\star$ never rises, and $u_n$ tends to one of them.
# 2. If moreover $f$ is $\alpha$-strongly convex and $0 < \tau \le 1/L$, then
#
# $$ \lVert u_n - u^\star\rVert^2 \le (1 - \tau\alpha)^n\,
#    \lVert u_0 - u^\star\rVert^2 . $$ (eq-contraction)
# :::
#
# :::{prf:proof}
# *A gradient that is Lipschitz and monotone.* For a fixed $v$ the function
# $g(u) = f(u) - \langle\nabla f(v), u\rangle$ is convex with the minimiser $v$
# and has an $L$-Lipschitz gradient. A step of length $1/L$ from $u$ cannot end
# below $g(v)$, so {eq}`eq-decrease` gives
# $\lVert\nabla g(u)\rVert^2 \le 2L\,(g(u) - g(v))$, which is
#
# $$ \lVert\nabla f(u) - \nabla f(v)\rVert^2 \le
#    2L\,\bigl(f(u) - f(v) - \langle\nabla f(v), u - v\rangle\bigr). $$ (eq-bregman)
#
# Add to this the same inequality with $u$ and $v$ exchanged:
#
# $$ \lVert\nabla f(u) - \nabla f(v)\rVert^2 \le
#    L\, \langle\nabla f(u) - \nabla f(v), u - v\rangle . $$ (eq-cocoercive)
#
# *1.* With $v = u^\star$, where $\nabla f$ vanishes, the square of the distance
# after a step is
#
# $$ \begin{aligned} \lVert u_{n+1} - u^\star\rVert^2
#    &= \lVert u_n - u^\star\rVert^2
#    - 2\tau\langle\nabla f(u_n), u_n - u^\star\rangle
#    + \tau^2\lVert\nabla f(u_n)\rVert^2 \\
#    &\le \lVert u_n - u^\star\rVert^2
#    - \tau\bigl(\tfrac2L - \tau\bigr)\lVert\nabla f(u_n)\rVert^2 .
#    \end{aligned} $$ (eq-fejer)
#
# So the distance never rises. The sum of all
# $\lVert\nabla f(u_n)\rVert^2$ is finite, hence $\nabla f(u_n) \to 0$. The
# iterates are bounded, and a part of them tends to some $v$. By continuity
# $\nabla f(v) = 0$, so $v$ is a minimiser. The distance to $v$ comes as
# near to 0 as one likes, and never rises: it tends to 0.
#
# *2.* Strong convexity says $\langle\nabla f(u), u - u^\star\rangle \ge f(u) -
# f(u^\star) + \tfrac\alpha2\lVert u - u^\star\rVert^2$, and {eq}`eq-bregman`
# with $v = u^\star$ says $\lVert\nabla f(u)\rVert^2 \le 2L\,(f(u) -
# f(u^\star))$. Put both into the first line of {eq}`eq-fejer`:
# $\lVert u_{n+1} - u^\star\rVert^2 \le (1 - \tau\alpha) \lVert u_n -
# u^\star\rVert^2 - 2\tau(1 - \tau L)(f(u_n) - f(u^\star))$, and the last term is
# not positive for $\tau \le 1/L$.
# :::

# %%
n, start = 120, (zero - u_star).norm()
away = {
    f"τ = {factor}/L": gradient_descent(
        f, zero, step_size=factor / L, max_iter=n, rtol=0, goal=u_star
    ).history["distance"][:, 0]
    / start
    for factor in (0.5, 1.0, 1.9)
}
bounds = {
    f"τ = {factor}/L": (1 - factor * alpha / L) ** (powers / 2)
    for factor in (0.5, 1.0)
}
assert all((away[k] <= bounds[k] + 1e-12).all() for k in bounds)
assert all((d[1:] <= d[:-1] + 1e-12).all() for d in away.values())

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the iterates from the minimiser, as a share of the first distance, for three fixed steps (thick), and the bound of the theorem for the two steps that it covers (thin). It never rises, also for $1.9/L$.", "name": "fig-contraction"}, "image": {"alt": "Three falling curves on a logarithmic axis: those of the two shorter steps fall steeply at first and slowly later, far below two dashed straight lines; that of the longest step is straight, starts above the others and ends below them."}}
plot_history(away, bounds=bounds, ylabel="|uₙ − u*| / |u₀ − u*|")

# %% [markdown]
# Without strong convexity there may be many minimisers, and the first part of
# the theorem does not say which one is found. A coarse sensor leaves an
# infinity of images that explain its data. From two starts descent ends at two
# of them. Neither path ever moves away from any of them, not from the end of
# the other path either:

# %% tags=["nbval-check-output"]
coarse = Downsampling(size, 2, bicubic_kernel(2, dtype=torch.float64))
explained = LeastSquares(coarse, coarse.A(x))
starts = {"zero": zero, "another photograph": load_photo("coins", 128)}
options = {"step_size": 1.9 / coarse.norm() ** 2, "max_iter": 600, "rtol": 0}
ends = {
    name: gradient_descent(explained, u0.double(), **options).x
    for name, u0 in starts.items()
}
for name, u0 in starts.items():
    for other, end in ends.items():
        run = gradient_descent(explained, u0.double(), goal=end, **options)
        d = run.history["distance"][:, 0]
        assert (d[1:] <= d[:-1] + 1e-10).all()
        print(f"from {name:18s} to the end of {other:18s}: {d[-1]:.1f}")

# %% [markdown]
# Of least squares one can say which minimiser it is: the gradients
# $A^\top(Au - y)$ have no component in $\ker A$, so the part of $u_0$ that $A$
# cannot see ({eq}`eq-split`) stays as it was. The end is the minimiser that is
# nearest to the start, and from $u_0 = 0$ it is $A^+ y$.

# %% tags=["remove-cell"]
for name, u0 in starts.items():
    nearest = u0.double() - coarse.A_dagger(coarse.A(u0.double() - x))
    assert (ends[name] - nearest).abs().max() < 1e-6

# %% [markdown]
# ## Why steepest descent zigzags
#
# "Steepest" is a local word. Here is the denoising problem with two pixels,
# small enough to draw: level lines are ellipses with axis ratio
# $\sqrt\kappa$, successive gradients of the optimal step are orthogonal, and
# the path zigzags across the valley. **Conjugate gradients** remembers where
# it came from; on a quadratic with two eigenvalues it needs two steps.

# %%
pair = Denoising((1, 1, 2))
y2 = torch.tensor([[[[0.3, 0.8]]]], dtype=torch.float64)
valley = LeastSquares(pair, y2) + Tychonov(1.5)
origin = torch.tensor([[[[0.1, 0.16]]]], dtype=torch.float64)


def path(step_size, n=14):
    visit = [
        gradient_descent(
            valley, origin, step_size=step_size, max_iter=k, rtol=0
        ).x.flatten()
        for k in range(n)
    ]
    return torch.stack(visit)


def path_cg(n=3):
    visit = [
        conjugate_gradient(valley.hvp, y2, origin, max_iter=k, rtol=0).x
        for k in range(n)
    ]
    return torch.stack(visit).reshape(n, 2)


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Descent on a denoising problem with two pixels (condition number 13). The short fixed step creeps along the valley, the optimal step zigzags across it, conjugate gradients arrive in two steps.", "name": "fig-zigzag"}, "image": {"alt": "Elliptic level lines along the diagonal; one path follows the valley in small steps, one zigzags at right angles, one goes to the centre in two segments."}}
plot_paths(
    lambda p: valley(p.reshape(-1, 1, 1, 2)),
    {
        "fixed 1/L": path(1 / (1 + 8 * 1.5)),
        "optimal": path("optimal"),
        "conjugate gradients": path_cg(),
    },
    xlabel="first pixel",
    ylabel="second pixel",
)

# %% [markdown]
# On photographs the order is the same. The stored experiment counts the steps
# until the gradient has shrunk by $10^4$, for $\lambda = 0.02$ and condition
# number {glue:text}`condition_number:.1f`:
#
# | step | steps |
# |---|---:|
# | $1/(\lVert A\rVert^2 + 16\lambda)$, the safe bound | {glue:text}`steps_bound:.0f` |
# | $1/L$, exact | {glue:text}`steps_exact:.0f` |
# | $2/(L + \alpha)$, best worst case | {glue:text}`steps_middle:.0f` |
# | optimal | {glue:text}`steps_optimal:.0f` |
# | conjugate gradients | {glue:text}`steps_cg:.0f` |
#
# The step $2/(L+\alpha)$ has the best *guarantee* of all fixed steps and is
# not the fastest here: it balances the two ends of the spectrum, while a
# photograph has nearly all its energy at one of them.

# %%
runs = {
    "fixed 1/L": fixed.history["gradient_norm"],
    "optimal": optimal.history["gradient_norm"],
}
cg = conjugate_gradient(f.hvp, op.A_adjoint(y), max_iter=60, rtol=0)
relative = torch.cat((torch.ones(1, 1), cg.history["residual"]))
runs["conjugate gradients"] = relative * f.grad(zero).norm()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Norm of the gradient for the deblurring problem with λ = 0.01. Conjugate gradients cost as much per step as descent and need far fewer.", "name": "fig-cg"}, "image": {"alt": "Three falling curves on a logarithmic axis: the fixed step is slowest, the optimal step about twice as fast, conjugate gradients fall by thirteen powers of ten within 60 steps."}}
plot_history(
    {label: values[:61] for label, values in runs.items()},
    ylabel="|∇f(uₙ)|",
)

# %% [markdown]
# ## Constraints: projected gradient
#
# Some knowledge is not a penalty but a condition, such as "the known pixels
# are exact". **Projected gradient** steps and then returns to the convex set
# $C$ of admissible images,
#
# $$ u_{n+1} = P_C\bigl(u_n - \tau\nabla f(u_n)\bigr),
#    \qquad 0 < \tau < 2/L . $$ (eq-projected)
#
# Here $P_C(v)$ is the point of $C$ that is nearest to $v$. It is the only point
# $u$ of $C$ with $\langle v - u, u' - u\rangle \le 0$ for all $u' \in C$: no point
# of $C$ lies ahead of it, seen in the direction of $v$.
#
# :::{prf:theorem} Projected gradient
# :label: thm-projected
#
# Let $f$ be convex with $L$-Lipschitz gradient, $C$ closed and convex, and let
# $f$ have a minimiser on $C$. A point $u^\star$ is one if and only if
# $u^\star = P_C(u^\star - \tau\nabla f(u^\star))$. For $0 < \tau < 2/L$ the
# distance of the iterates of {eq}`eq-projected` to each of these minimisers never
# rises, and they tend to one of them. If $f$ is $\alpha$-strongly convex and
# $\tau \le 1/L$, {eq}`eq-contraction` holds again.
# :::
#
# :::{prf:proof}
# *Fixed points.* Convexity makes $u^\star \in C$ a minimiser on $C$ exactly if
# $\langle\nabla f(u^\star), v - u^\star\rangle \ge 0$ for all $v \in C$. This is
# the inequality that defines $P_C$, for the point $u^\star -
# \tau\nabla f(u^\star)$.
#
# *The projection.* Write the inequality for the projections of two points $u$ and $v$,
# each with the other projection as a point of $C$, and add. With $r = u - P_C(u)$ and
# $s = v - P_C(v)$ the sum is
# $\langle r - s, P_C(u) - P_C(v)\rangle \ge 0$, hence
#
# $$ \lVert P_C(u) - P_C(v)\rVert^2 \le \lVert u - v\rVert^2
#    - \lVert r - s\rVert^2 . $$ (eq-firm)
#
# *Both together.* By {eq}`eq-cocoercive` a gradient step brings two points no
# farther apart, and their square distance falls by at least
# $\tau(\tfrac2L - \tau)$ times the square of the difference of their gradients. Take $u_n$ and a
# minimiser $u^\star$ on $C$, which stays where it is: by {eq}`eq-firm`
#
# $$ \begin{aligned} \lVert u_{n+1} - u^\star\rVert^2 \le
#    \lVert u_n - u^\star\rVert^2
#    &- \tau\bigl(\tfrac2L - \tau\bigr)
#    \lVert\nabla f(u_n) - \nabla f(u^\star)\rVert^2 \\
#    &- \lVert r_n - r^\star\rVert^2 , \end{aligned} $$
#
# where $r_n = u_n - \tau\nabla f(u_n) - u_{n+1}$ and
# $r^\star = -\tau\nabla f(u^\star)$. The distance never rises, and both subtracted
# terms tend to 0. So $\nabla f(u_n)$ tends to $\nabla f(u^\star)$ and $r_n$ to
# $r^\star$, hence $u_n - u_{n+1}$ to 0. The limit of a part of the iterates is
# then a fixed point, that is a minimiser on $C$, and the distance to it tends to 0
# as in {prf:ref}`thm-iterates`. Under strong convexity the gradient step
# contracts $\lVert u_n - u^\star\rVert^2$ by $1 - \tau\alpha$ (as
# {prf:ref}`thm-iterates` does for $f - \langle\nabla f(u^\star), \cdot\rangle$), and the projection does not undo it.
# :::
#
# :::{exercise} Projected gradient
# :label: ex-projected
#
# Write it: from `u`, take `n` steps of length `tau`, each followed by
# `project`, and return all iterates, `u` included, as a tensor with `n + 1`
# rows. The check minimises over a box and tests what the theorem promises.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def projected_gradient(grad, project, u, tau, n):
    ### BEGIN SOLUTION
    visited = [u]
    for _ in range(n):
        u = project(u - tau * grad(u))
        visited.append(u)
    return torch.stack(visited)
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_projected_gradient(projected_gradient)

# %% [markdown]
# For inpainting without noise, $C = \{u : A u = y\}$ and $P_C$ simply puts
# the known pixels back. With $f = \lVert\nabla u\rVert^2$ the limit solves
# $\Delta u = 0$ on the unknown pixels: the **harmonic extension**, a rubber
# sheet pinned to the data.

# %% tags=["nbval-check-output"]
x = load_photo("chelsea", 256).double()
known = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(5))
mask = Inpainting(known < 0.25)
y = mask(x)
sheet = gradient_descent(
    Tychonov(0.5),
    y,
    max_iter=2000,
    rtol=1e-7,
    project=project_consistent(mask, y),
)
unknown = ~mask.mask
print(sheet.status, "after", sheet.iterations, "steps")
print(f"largest |Laplacian|: {laplacian(sheet.x)[0][unknown].abs().max():.0e}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three pixels in four are lost. The harmonic extension of the rest, by projected gradient, is smooth between the known pixels and cannot invent an edge.", "name": "fig-harmonic"}, "image": {"alt": "Three panels of a cat: the original, the same with three quarters of the pixels black, and the filled-in image, slightly blurred but natural."}}
show_images(
    {"original": x, "25 % known": y, "harmonic extension": sheet.x},
    truth=x,
    zoom=(90, 60, 48, 48),
)

# %% [markdown]
# The theorem can be watched. On the way to its limit the distance never rises,
# for a step just below $2/L$ either. Here the longer step is the faster one.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of projected gradient from its limit, the harmonic extension, for two steps, as a share of the first distance.", "name": "fig-projected"}, "image": {"alt": "Two curves on a logarithmic axis that fall all along, that of the longer step more steeply."}}
project = project_consistent(mask, y)
limit = gradient_descent(
    Tychonov(0.5), sheet.x, max_iter=1000, rtol=1e-13, project=project
).x
pinned = {"max_iter": 200, "rtol": 0, "project": project, "goal": limit}
approach = {
    f"τ = {factor}/L": gradient_descent(
        Tychonov(0.5), y, step_size=factor / 8, **pinned
    ).history["distance"][:, 0]
    for factor in (1.0, 1.9)
}
assert all((d[1:] <= d[:-1]).all() for d in approach.values())
assert approach["τ = 1.9/L"][-1] < approach["τ = 1.0/L"][-1]
plot_history(
    {name: d / d[0] for name, d in approach.items()},
    ylabel="|uₙ − u*| / |u₀ − u*|",
)

# %% tags=["remove-cell"]
assert sheet.status == "converged"
assert laplacian(sheet.x)[0][unknown].abs().max() < 1e-3
assert psnr(sheet.x, x) > psnr(y, x) + 15

# %% tags=["hide-input"]
compare(
    y,
    sheet.x,
    labels=("25 % known", "harmonic extension"),
    truth=x,
    alt="A slider between a cat with three quarters of its pixels black and "
    "the completed picture.",
    caption="A quarter of the pixels (left) and their harmonic extension "
    "(right).",
)

# %% [markdown]
# With half of the pixels lost, the harmonic extension reaches
# {glue:text}`psnr_harmonic:.1f` dB on average over the test photographs (the
# masked images have {glue:text}`psnr_masked:.1f` dB).
#
# ## Descent as a flow: the heat equation
#
# Forget the data and let gradient descent run on $\lVert\nabla u\rVert^2$
# alone: $u_{n+1} = u_n + 2\tau\Delta u_n$ is the explicit Euler scheme of the
# **heat equation** $\partial_t u = \Delta u$ with time $t = 2\tau n$. The
# photograph is a plate whose brightness diffuses. Its mean never changes, and
# every Fourier mode decays on its own by $(1 - 2\tau\hat L)^n$. Stability is
# the step rule again: $L = 16$, so $\tau \le 1/8$. Over a long time the
# result is a Gaussian blur of standard deviation $\sqrt{2t} = \sqrt{4\tau n}$
# pixels: the **scale space** of {cite:t}`koenderink1984structure`.

# %%
x = load_photo("astronaut", 128).double()
heat = Tychonov(1.0)
melted = {
    n: gradient_descent(heat, x, step_size=0.12, max_iter=n, rtol=0).x
    for n in (0, 5, 25, 125)
}
gaussian = Blur(gaussian_kernel((4 * 0.12 * 125) ** 0.5).double(), size).A(x)
print(f"mean before {x.mean():.12f}, after {melted[125].mean():.12f}")
print(f"rms distance to the Gaussian: {(melted[125] - gaussian).std():.1e}")
burst = gradient_descent(heat, x, step_size=0.13, max_iter=130, rtol=0).x

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gradient descent on the squared gradient is the heat equation. Top: a portrait melts, after 0, 5 and 25 steps. Bottom: after 125 steps, the Gaussian blur that the theory predicts for them, and 130 steps of 0.13 instead of 0.12, beyond 1/8.", "name": "fig-heat"}, "image": {"alt": "Six panels: the portrait, slightly soft, softer, very soft after 125 steps, the same as a Gaussian blur, and a picture destroyed by a checkerboard."}}
show_images(
    {f"n = {n}": u for n, u in melted.items()}
    | {"Gaussian, 7.7 pixels": gaussian, "τ = 0.13, n = 130": burst},
    columns=3,
)

# %% tags=["remove-cell"]
assert (melted[125].mean() - x.mean()).abs() < 1e-13
assert (melted[125] - gaussian).std() < 0.01 * x.std()
assert burst.abs().max() > 5

# %% [markdown]
# :::{exercise} Melt in one step
# :label: ex-heat
#
# Write the result of $n$ steps without a loop, in the Fourier basis.
# :::


# %% tags=["solution", "hide-input"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def heat_closed_form(u, tau, n):
    ### BEGIN SOLUTION
    factor = (1 - 2 * tau * laplacian_symbol(u.shape[-2:])) ** n
    return torch.fft.irfft2(factor * torch.fft.rfft2(u), s=u.shape[-2:])
    ### END SOLUTION


# %% tags=["nbval-check-output"]
check_heat(heat_closed_form)

# %% [markdown]
# ## The same in deepinv
#
# deepinv's gradient descent takes our operator as its physics, and stops where
# our closed form does:
#
# ```python
# from deepinv.optim import L2, GD, Tikhonov
# from course_lib.operators import to_deepinv
#
# op = Blur(gaussian_kernel(1.5), (1, 128, 128))
# y = op.A(load_photo("camera", 128))
# descent = GD(
#     data_fidelity=L2(), prior=Tikhonov(), lambda_reg=0.1, stepsize=0.9,
#     max_iter=200,
# )
# ridge = op.prox_l2(torch.zeros_like(y), y, 1 / 0.1)
# gap = (descent(y, to_deepinv(op)) - ridge).abs().max()  # about 1e-6
# ```
#
# ## Go further
#
# * {cite:t}`nesterov2004introductory` proves the rates, and that momentum
#   improves $\kappa$ to $\sqrt\kappa$; {cite:t}`chambolle2016introduction`
#   is the survey for imaging, {cite:t}`nocedal2006numerical` the handbook.
# * Repeat {numref}`fig-linear` with $\lambda = 10^{-3}$. How do the two slopes
#   change with $\kappa$?
# * Replace the squared gradient by something that forgives edges: this is the
#   next chapter but one.
