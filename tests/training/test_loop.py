"""The loop against what is known in closed form: schedules, averages, least squares, resumption."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from course_lib.project import CourseError
from course_lib.rng import normal_like
from course_lib.training import Objective, Settings, contact_sheet, saved_run, train
from course_lib.training.precision import multiplies_bfloat16

EPS = torch.finfo(torch.float64).eps
QUICK = Settings(steps=12, batch_size=8, precision="float32", log_every=5, save_every=3)


class Regression(Objective):
    """y = w x by least squares, in float64; the draws of `noise` blur x."""

    def __init__(self, noise=0.0, n_in=3):
        torch.manual_seed(0)
        self.model = nn.Linear(n_in, 2).double()
        self.model.register_buffer("seen", torch.zeros(()))
        self.noise = noise

    def loss(self, player, batch, *, done, generator):
        x, y = batch
        x = x + self.noise * normal_like(x, generator)
        error = self.model(x) - y
        return error.square().mean(), {"mae": error.abs().mean(), "done": done}

    def after_step(self, figures):
        self.model.seen += figures["mae"]


class Failing(Regression):
    """Raises, or has no finite loss or gradient, at given steps."""

    def __init__(self, failure, steps, **kwargs):
        super().__init__(**kwargs)
        self.failure, self.steps, self.step = failure, steps, 0

    def loss(self, player, batch, **kwargs):
        loss, figures = super().loss(player, batch, **kwargs)
        self.step += 1
        if self.step - 1 not in self.steps:
            return loss, figures
        if self.failure == "stop":
            raise InterruptedError
        if self.failure == "loss":
            return loss * math.nan, figures
        if self.failure == "gradient":  # finite loss, but 0 times the infinite slope of a root
            return loss + (self.model.weight.sum() * 0).sqrt(), figures
        if self.failure == "infinite gradient":
            weight = self.model.weight.sum()
            return loss + (weight - weight.detach()).sqrt(), figures
        return 1e6 * loss, figures  # long


class Pairs:
    """Samples (x, y) with 3 and 2 numbers."""

    def __init__(self, n=40):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
        self.y = self.x @ torch.randn(3, 2, generator=generator, dtype=torch.float64)
        self.y += 0.3 * torch.randn(n, 2, generator=generator, dtype=torch.float64)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


def fit(folder, objective=None, settings=QUICK, data=None, **kwargs):
    objective = Regression() if objective is None else objective
    data = Pairs() if data is None else data
    return train(objective, data, settings, folder, progress=False, **kwargs)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def gradient(training):
    """Of the last step: it stays in the model until the next one."""
    return torch.cat([p.grad.flatten() for p in training.raw.parameters()])


# What is computed


@pytest.mark.slow
def test_least_squares(tmp_path):
    """The whole set as batch and no noise: the minimum of a quadratic, for the average too."""
    data = Pairs()
    settings = Settings(
        steps=800, batch_size=40, learning_rate=0.05, weight_decay=0.0, ema_decay=0.9
    )
    training = fit(tmp_path, settings=replace(settings, precision="float32"), data=data)
    ones = torch.ones(40, 1, dtype=torch.float64)
    expected = torch.linalg.lstsq(torch.cat([data.x, ones], 1), data.y).solution.T
    for model in (training.raw, training.model):
        found = torch.cat([model.weight, model.bias[:, None]], 1)
        # Adam closes in as fast as its rate falls; the last rates are below 1e-6.
        assert torch.allclose(found, expected, rtol=0, atol=1e-6)
        assert not model.training


def test_learning_rate():
    settings = Settings(steps=1000, learning_rate=0.4, warm_up=100)
    rates = [settings.learning_rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.004)
    assert rates[49] == pytest.approx(0.2)
    assert rates[99] == rates[100] == pytest.approx(0.4)
    assert rates[550] == pytest.approx(0.2)  # half-way down the cosine
    assert rates[400] == pytest.approx(0.4 * math.cos(math.pi / 6) ** 2)
    assert 0 < rates[-1] < 1e-5
    short = Settings(steps=10, learning_rate=1.0, warm_up=100)
    assert [short.learning_rate_at(s) for s in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )


class Drift(Objective):
    """A constant gradient of 1: Adam then moves by exactly its learning rate."""

    def __init__(self):
        self.model = nn.Linear(1, 1, bias=False).double()
        nn.init.zeros_(self.model.weight)

    def loss(self, player, batch, *, done, generator):
        return self.model.weight.sum() + 0 * batch.sum(), {}


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_weight_decay_in_closed_form(tmp_path, decay):
    """w <- (1 - rate decay) w - rate, decoupled from Adam's gradient of 1 (AdamW)."""
    objective = Drift()
    nn.init.constant_(objective.model.weight, 5.0)
    settings = replace(QUICK, steps=40, learning_rate=0.1, weight_decay=decay)
    training = fit(tmp_path, objective, settings, torch.zeros(10, 1))
    w = 5.0
    for t in range(40):
        rate = settings.learning_rate_at(t)
        w = (1 - rate * decay) * w - rate
    assert training.raw.weight.item() == pytest.approx(w, rel=1e-6)  # Adam divides by 1 + 1e-8


@pytest.mark.parametrize("decay", [0.9999, 0.5])
def test_the_average_in_closed_form(tmp_path, decay):
    """a_T = p_T w_0 + sum_t (p_T / p_{t+1}) (1 - d_t) w_{t+1}, with p_t = d_0 ... d_{t-1}."""
    settings = replace(QUICK, steps=40, ema_decay=decay, weight_decay=0.0)
    training = fit(tmp_path, Drift(), settings, torch.zeros(10, 1))
    rates = torch.tensor([settings.learning_rate_at(t) for t in range(40)], dtype=torch.float64)
    w = -rates.cumsum(0)  # w_1, ..., w_40, from w_0 = 0
    # Adam divides by 1 + 1e-8.
    assert training.raw.weight.item() == pytest.approx(w[-1].item(), rel=2e-8)
    d = torch.tensor([min(decay, (1 + t) / (10 + t)) for t in range(40)], dtype=torch.float64)
    if decay == 0.9999:  # the product telescopes: T! 9! / (T + 9)!
        p = math.factorial(40) * math.factorial(9) / math.factorial(49)
        assert d.prod().item() == pytest.approx(p, rel=100 * EPS)
    later = d.flip(0).cumprod(0).flip(0) / d  # d_{t+1} ... d_{T-1}
    average = ((1 - d) * later * w).sum().item()
    assert training.model.weight.item() == pytest.approx(average, rel=2e-8)


def test_buffers_are_copied_not_averaged(tmp_path):
    """`seen` sums a figure, the same that the log averages."""
    training = fit(tmp_path, settings=replace(QUICK, log_every=1))
    assert torch.equal(training.model.seen, training.raw.seen)
    total = sum(line["mae"] for line in training.history)
    assert training.raw.seen.item() == pytest.approx(total, rel=1e-6)  # float32 sums


@pytest.mark.parametrize("clip", [0.01, math.inf])
def test_clipping(tmp_path, clip):
    training = fit(tmp_path, settings=replace(QUICK, steps=1, clip_norm=clip))
    before = training.history[0]["gradient_norm"]
    assert before > 0.1
    # torch divides by the norm + 1e-6; the logged norm is a float32.
    assert gradient(training).norm().item() == pytest.approx(min(before, clip), rel=1e-5)


@pytest.mark.parametrize("shards", [1, 4])
def test_figures_of_a_step_are_those_of_its_batch(tmp_path, shards):
    """Loss, error and norm of the gradient at the weights before the step, of the joint batch."""
    settings, data = replace(QUICK, log_every=1, shards=shards), Pairs()
    for step in range(3):
        before = fit(tmp_path / f"{step}", settings=replace(settings, steps=3), data=data)
        line = before.history[step]
        if step:  # the schedule of three steps is that of the run, so its saved start is too
            before = interrupted(tmp_path / f"at{step}", step, replace(settings, steps=3), data)
        model = before if step else Regression().model
        x, y = data[settings.indices(step, len(data))]
        error = model(x) - y
        loss = error.square().mean()
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        length = torch.cat([slope.flatten() for slope in slopes]).norm()
        expected = {"loss": loss, "mae": error.abs().mean(), "gradient_norm": length}
        for name, value in expected.items():  # float32
            assert line[name] == pytest.approx(value.item(), rel=1e-6)
        assert line["done"] == pytest.approx(step / 3, rel=1e-6)


def interrupted(folder, step, settings, data):
    """The model of a run after so many steps."""
    objective = Failing("stop", {step * settings.shards})
    with pytest.raises(InterruptedError):
        fit(folder, objective, settings, data)
    return objective.model


@pytest.mark.parametrize("shards", [2, 8])
def test_shards_add_up_to_the_joint_batch(tmp_path, shards):
    settings = replace(QUICK, clip_norm=math.inf)
    for steps in (1, 12):
        whole = fit(tmp_path / f"whole{steps}", settings=replace(settings, steps=steps))
        split = replace(settings, steps=steps, shards=shards)
        parts = fit(tmp_path / f"parts{steps}", settings=split)
        gap = (gradient(parts) - gradient(whole)).norm()
        assert gap <= 1e-13 * gradient(whole).norm()  # rounding in float64, through 12 steps
        for line, same in zip(parts.history, whole.history, strict=True):
            assert line["loss"] == pytest.approx(same["loss"], rel=1e-6)  # a float32
            assert line["mae"] == pytest.approx(same["mae"], rel=1e-6)


@pytest.mark.parametrize("failure", ["loss", "gradient", "infinite gradient"])
def test_a_step_that_is_not_finite_is_skipped(tmp_path, failure):
    objective = Failing(failure, range(12))
    start = weights(objective.model)
    training = fit(tmp_path, objective)
    assert training.skipped == training.steps == 12
    assert torch.equal(weights(training.raw), start)
    assert torch.equal(weights(training.model), start)
    assert training.raw.seen == 0  # after_step was not called
    assert all("loss" not in line for line in training.history)
    objective = Failing(failure, {4, 7})
    training = fit(tmp_path / "some", objective)
    assert training.skipped == 2
    assert weights(training.raw).isfinite().all()
    assert [line["skipped"] for line in training.history] == [1, 2, 2]
    assert all(math.isfinite(line["loss"]) for line in training.history)


def test_a_gradient_that_is_too_long_is_skipped_on_demand(tmp_path):
    settings = replace(QUICK, skip_norm=1e3)
    assert fit(tmp_path / "on", Failing("long", {2, 3, 9}), settings).skipped == 3
    assert fit(tmp_path / "off", Failing("long", {2, 3, 9})).skipped == 0


class Game(Objective):
    """Two players: `follower` approaches `leader`, which approaches 1."""

    def __init__(self):
        self.model = nn.ParameterDict({n: torch.zeros(()) for n in ("follower", "leader")})
        self.calls, self.draws = [], []

    def players(self):
        return {name: [self.model[name]] for name in ("leader", "follower")}

    def loss(self, player, batch, *, done, generator):
        self.calls.append((player, self.model["leader"].item()))
        self.draws.append(torch.rand((), generator=generator, dtype=torch.float64).item())
        goal = 1.0 if player == "leader" else self.model["leader"]
        return (self.model[player] - goal).square(), {f"{player}_goal": goal}


@pytest.mark.slow
def test_two_players_move_in_order(tmp_path):
    game = Game()
    settings = Settings(steps=400, learning_rate=0.1, warm_up=0, weight_decay=0.0)
    training = fit(tmp_path, game, settings, torch.zeros(9, 1))
    (first, at_start), (second, moved) = game.calls[:2]
    assert (first, second) == ("leader", "follower")
    assert at_start == 0
    assert moved == pytest.approx(0.1, rel=1e-5)  # Adam's first step is as long as its rate
    assert len(game.calls) == 800
    assert len(set(game.draws)) == 800  # each has draws of its own
    for value in training.raw.values():
        assert value.item() == pytest.approx(1, abs=1e-3)
    for name in ("loss_leader", "loss_follower", "gradient_norm_leader", "follower_goal"):
        assert name in training.history[0]


def test_a_player_only_moves_its_own_parameters(tmp_path):
    """The follower's loss has a slope with respect to the leader, which must not be used."""
    game, alone = Game(), Game()
    alone.players = lambda: {"leader": [alone.model["leader"]]}
    settings = replace(QUICK, weight_decay=0.0)
    fit(tmp_path / "game", game, settings, torch.zeros(9, 1))
    fit(tmp_path / "alone", alone, settings, torch.zeros(9, 1))
    assert torch.equal(game.model["leader"], alone.model["leader"])


# Data and draws


@pytest.mark.parametrize("n", [5, 16, 40, 41])
def test_every_sample_once_an_epoch(n):
    settings = Settings(steps=60, batch_size=16, seed=3)
    stream = torch.cat([settings.indices(step, n) for step in range(60)])
    epochs = stream[: len(stream) // n * n].view(-1, n)
    assert torch.equal(epochs.sort(1).values, torch.arange(n).expand_as(epochs))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(settings.indices(37, n), stream[37 * 16 : 38 * 16])  # any step, at once
    assert not torch.equal(replace(settings, seed=4).indices(0, n), settings.indices(0, n))


def test_draws_are_functions_of_step_shard_and_player():
    settings, cpu = Settings(steps=9, seed=5), torch.device("cpu")

    def draw(*key, settings=settings):
        return torch.rand(2, generator=settings.generator(*key, cpu), dtype=torch.float64)

    keys = [(t, k, p) for t in range(9) for k in range(4) for p in range(2)]
    draws = {tuple(draw(*key).tolist()) for key in keys}
    assert len(draws) == len(keys)
    assert torch.equal(draw(3, 1, 0), draw(3, 1, 0))
    assert not torch.equal(draw(3, 1, 0), draw(3, 1, 0, settings=replace(settings, seed=6)))


def test_the_dataset_is_asked_for_one_shard_at_a_time(tmp_path):
    sizes = []

    class Asked(Pairs):
        def __getitem__(self, index):
            sizes.append(len(index))
            return super().__getitem__(index)

    fit(tmp_path, settings=replace(QUICK, shards=4), data=Asked())
    assert sizes == [2] * 49  # the first one twice: a run knows the data it was begun with


# Stopping and going on


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    whole = fit(tmp_path / "whole", Regression(noise=0.1))
    for stop in (0, 2, 4, 9):  # the run is saved after steps 0, 0, 3, 9
        folder = tmp_path / str(stop)
        with pytest.raises(InterruptedError):
            fit(folder, Failing("stop", {stop}, noise=0.1))
        resumed = Failing("stop", (), noise=0.1)
        nn.init.ones_(resumed.model.weight)  # the saved run has the weights
        training = fit(folder, resumed)
        assert resumed.step == 12 - stop // 3 * 3
        assert torch.equal(weights(training.raw), weights(whole.raw))
        assert torch.equal(weights(training.model), weights(whole.model))
        assert torch.equal(training.raw.seen, whole.raw.seen)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert lines == training.history
        assert [line["step"] for line in lines] == [5, 10, 12]
        for line, same in zip(lines, whole.history, strict=True):
            assert {**line, "samples_per_second": 0} == {**same, "samples_per_second": 0}


def test_a_finished_run_only_returns(tmp_path):
    first = fit(tmp_path, Failing("stop", ()))
    (tmp_path / "log.jsonl").unlink()
    again = fit(tmp_path, Failing("stop", range(12)))
    assert torch.equal(weights(again.model), weights(first.model))
    assert torch.equal(weights(again.raw), weights(first.raw))
    assert again.history == first.history
    assert again.steps == 12
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_another_run_is_refused(tmp_path):
    fit(tmp_path)
    for changes, message in (
        ({"learning_rate": 0.5}, r"learning_rate = 0.001, and learning_rate = 0.5 is asked for"),
        ({"seed": 1}, "seed = 0, and seed = 1"),
        ({"steps": 13}, "steps = 12, and steps = 13"),
        ({"betas": (0.9, 0.999)}, "betas"),
    ):
        with pytest.raises(CourseError, match=rf"run\.pt was begun with .*{message}"):
            fit(tmp_path, settings=replace(QUICK, **changes))
    with pytest.raises(CourseError, match="objective = Regression, and objective = Game"):
        fit(tmp_path, Game())
    with pytest.raises(CourseError, match=r"run\.pt holds a model of another form"):
        fit(tmp_path, Regression(n_in=4))
    other = Pairs()
    other.x = other.x + 1
    with pytest.raises(CourseError, match="begun with other data"):
        fit(tmp_path, data=other)
    fit(tmp_path, settings=replace(QUICK, log_every=1, save_every=1, sheet_every=1))


def test_a_damaged_file_is_named(tmp_path):
    fit(tmp_path)
    path = tmp_path / "run.pt"
    whole = path.read_bytes()
    place = whole.index(saved_run.load(path)["model"]["weight"].numpy().tobytes())
    flipped = bytearray(whole)
    flipped[place + 3] ^= 1  # one bit of one weight
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(CourseError, match=r"run\.pt is damaged .*Delete it"):
            fit(tmp_path)
    path.write_bytes(whole)
    for other in ({"step": 3}, {**torch.load(path), "format": 99}):
        torch.save(other, path)
        with pytest.raises(CourseError, match="not a saved run of format 1"):
            fit(tmp_path)


def test_minutes_fix_the_number_of_steps_once(tmp_path):
    timed = fit(tmp_path / "timed", Regression(noise=0.1), minutes=0.002)
    assert timed.steps > 1
    fixed = fit(tmp_path / "fixed", Regression(0.1), replace(QUICK, steps=timed.steps))
    assert torch.equal(weights(timed.raw), weights(fixed.raw))  # the timing left no trace
    assert torch.equal(weights(timed.model), weights(fixed.model))
    assert torch.equal(timed.raw.seen, fixed.raw.seen)
    assert fit(tmp_path / "timed", minutes=5.0).steps == timed.steps
    with pytest.raises(CourseError, match="begun with a limit of time"):
        fit(tmp_path / "timed")
    with pytest.raises(CourseError, match="begun without a limit of time"):
        fit(tmp_path / "fixed", settings=replace(QUICK, steps=timed.steps), minutes=5.0)
    with pytest.raises(ValueError, match="minutes must be positive, got 0"):
        fit(tmp_path / "none", minutes=0.0)


# What is shown


def test_the_log_holds_means_over_its_steps(tmp_path):
    training = fit(tmp_path)
    assert [line["step"] for line in training.history] == [5, 10, 12]
    done = [line["done"] for line in training.history]
    # Step t is made when t / 12: means of 0..4, 5..9, 10..11; figures are float32.
    assert done == pytest.approx([2 / 12, 7 / 12, 10.5 / 12], rel=1e-6)
    assert training.history[1]["learning_rate"] == QUICK.learning_rate_at(9)
    assert all(line["samples_per_second"] > 0 for line in training.history)
    assert training.seconds > 0


def test_a_quiet_run_is_quiet(tmp_path, capfd):
    fit(tmp_path)
    assert capfd.readouterr() == ("", "")


class Pictures(Objective):
    def __init__(self):
        self.model = nn.Conv2d(2, 4, 3)
        self.inputs, self.autocast = [], []

    def loss(self, player, batch, *, done, generator):
        self.inputs.append(batch)
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return self.model(batch).float().square().mean(), {}

    def preview(self, model):
        assert not model.training
        return torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 1, 6, 4)


def test_images_are_laid_out_channels_last_and_shown(tmp_path):
    objective = Pictures()
    images = torch.rand(20, 2, 8, 8)
    training = fit(tmp_path, objective, replace(QUICK, sheet_every=5), images)
    names = [f"sheet_{step:06d}.png" for step in (5, 10, 12)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "run.pt", *names]
    for tensor in (objective.inputs[0], training.raw.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_contact_sheet(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    images = torch.rand(5, 3, 6, 4, generator=torch.Generator().manual_seed(0)) * 2 - 0.5
    contact_sheet.save(images, path, columns=3, scale=2)
    with Image.open(path) as file:
        sheet = torch.from_numpy(np.array(file))
    assert sheet.shape == (2 * (2 * 7 + 1), 2 * (3 * 5 + 1), 3)
    assert torch.equal(sheet[0::2, 0::2], sheet[1::2, 1::2])
    sheet = sheet[::2, ::2]
    for k in range(5):
        row, column = 7 * (k // 3) + 1, 5 * (k % 3) + 1
        tile = sheet[row : row + 6, column : column + 4].movedim(-1, 0)
        assert torch.equal(tile, (255 * images[k].clamp(0, 1)).round().byte())
    for line in (sheet[0], sheet[7], sheet[:, 0], sheet[:, 5], sheet[8:, 11:]):
        assert (line == 255).all()  # white margins, and a white sixth place
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    contact_sheet.save(torch.full((1, 1, 2, 2), math.nan), path)  # a sick model is shown too
    for shape in ((3, 6, 4), (1, 2, 6, 4), (0, 1, 6, 4)):
        with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\)"):
            contact_sheet.save(torch.zeros(shape), path)


# Numbers


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_precision(tmp_path, precision):
    objective = Pictures()
    expected = {
        "float32": False,
        "bfloat16": True,
        "auto": multiplies_bfloat16(torch.device("cpu")),
    }
    training = fit(
        tmp_path, objective, replace(QUICK, precision=precision), torch.rand(20, 2, 8, 8)
    )
    assert set(objective.autocast) == {expected[precision]}
    assert training.raw.weight.dtype == training.model.weight.dtype == torch.float32


def test_small_numbers_are_back_afterwards(tmp_path):
    fit(tmp_path)
    with pytest.raises(InterruptedError):
        fit(tmp_path / "stopped", Failing("stop", {1}))
    assert (torch.tensor([1e-40]) * 2).item() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate must be at least 0, got -1.0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"clip_norm": 0.0}, "clip_norm must be positive"),
        ({"skip_norm": math.nan}, "skip_norm must be positive"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\)"),
        ({"betas": (0.9, 1.5)}, r"betas must be in \[0, 1\), got 1.5"),
        ({"batch_size": 32, "shards": 5}, "32 does not split into 5 equal shards"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"steps": 10, **changes})


def test_shards_among_processes():
    assert Settings(steps=1).for_processes(4).shards == 4
    assert Settings(steps=1, shards=8).for_processes(4).shards == 8
    with pytest.raises(ValueError, match="8 shards do not split among 3 processes"):
        Settings(steps=1, shards=8).for_processes(3)
    with pytest.raises(ValueError, match="a batch of 32 does not split into 3"):
        Settings(steps=1).for_processes(3)


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="the dataset is empty"):
        fit(tmp_path, data=torch.zeros(0, 3))
    objective = Regression()
    objective.players = lambda: {"model": [nn.Parameter(torch.zeros(()))]}
    with pytest.raises(ValueError, match=r"parameters outside of objective\.model"):
        fit(tmp_path, objective)
    with pytest.raises(NotImplementedError):
        Objective().loss("model", torch.zeros(1), done=0.0, generator=torch.Generator())
