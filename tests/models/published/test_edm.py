"""Published files: read without running code, whole or not at all, and used on [0, 1].

The tiny files are written here by the same protocols as the published ones.
"""

import math
import os
import pickle
import re
import sys
from collections import OrderedDict
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.diffusion import Hutchinson, potential, rademacher
from course_lib.exact import power_law
from course_lib.models.published.edm import SignedRange, load_edm, read_edm
from course_lib.models.published.song_unet import SongUNet, SongUNetForm
from course_lib.project import CourseError

ARGUMENTS = {
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
    "augment_dim": 9,
}
OF_TRAINING = {"dropout": 0.1, "label_dropout": 0.2, "sigma_min": 0.002, "sigma_max": 80.0}
VARIANTS = {
    "vp": {"embedding_type": "positional", "encoder_type": "standard", "resample_filter": [1, 1]},
    "ve": {
        "embedding_type": "fourier",
        "encoder_type": "residual",
        "channel_mult_noise": 2,
        "resample_filter": [1, 3, 3, 1],
    },
}


@pytest.fixture
def program(monkeypatch):
    """The modules that the pickles of that program name, with code that must never run."""
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("the code of the file was run")

    class EasyDict(dict):
        """As in that program."""

    for owner, thing in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        thing.__module__, thing.__qualname__ = owner.__name__, thing.__name__
        setattr(owner, thing.__name__, thing)
    for module in (ModuleType("torch_utils"), persistence, ModuleType("dnnlib"), util):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return persistence, util


class Persistent:
    """A module that is pickled with its source code, as `persistent_class` does it."""

    def __init__(self, program, class_name, state):
        self.program, self.class_name, self.state = program, class_name, state

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit('the code of the file was run')",
            "class_name": self.class_name,
            "state": self.state,
        }
        return self.program[0]._reconstruct_persistent_obj, (meta,)


def persistent(program, module, **extra):
    """A tree of modules in the form of the file; a ModuleDict is pickled as it is."""
    parts = OrderedDict((n, persistent(program, m)) for n, m in module.named_children())
    if isinstance(module, nn.ModuleDict):
        plain = nn.ModuleDict()
        plain._modules.update(parts)
        return plain
    state = {
        "training": False,
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_non_persistent_buffers_set": set(),
        "_modules": parts,
        "skip_scale": np.sqrt(0.5),  # blocks keep such numbers, of numpy's own type
        **extra,
    }
    return Persistent(program, type(module).__name__, state)


def write_edm(path, program, network, class_name="EDMPrecond", protocol=4, **changes):
    """A file {ema, loss_fn, augment_pipe, dataset_kwargs}; returns its arguments."""
    arguments = {
        "img_resolution": 8,
        "img_channels": 3,
        "label_dim": 0,
        "use_fp16": False,
        "model_type": "SongUNet",
        **OF_TRAINING,
        **changes,
    }
    kwargs = program[1].EasyDict(arguments)
    outer = nn.Module()
    outer.model = network
    ema = persistent(program, outer, _init_args=(), _init_kwargs=kwargs, sigma_data=0.5)
    ema.class_name = class_name
    loss = Persistent(program, "EDMLoss", {"P_mean": -1.2})
    content = {
        "ema": ema,
        "loss_fn": loss,
        "augment_pipe": None,
        "dataset_kwargs": program[1].EasyDict({"resolution": 8}),
    }
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return arguments


def song(**options) -> SongUNet:
    return SongUNet(SongUNetForm(8, 3, **ARGUMENTS, **options))


@pytest.fixture(params=VARIANTS)
def network(request):
    torch.manual_seed(0)
    return song(**VARIANTS[request.param]).eval(), VARIANTS[request.param]


@pytest.mark.parametrize("protocol", [2, 4])
def test_edm_file(network, program, tmp_path, generator, protocol):
    """Arguments and weights come out; the denoiser is the formula of the paper on [-1, 1]."""
    network, variant = network
    path = tmp_path / "tiny.pkl"
    write_edm(path, program, network, protocol=protocol, **ARGUMENTS, **variant)
    saved = read_edm(path)
    assert saved.class_name == "EDMPrecond"
    assert saved.init_kwargs["img_resolution"] == 8
    assert saved.dataset == {"resolution": 8}
    for name, value in network.state_dict().items():
        torch.testing.assert_close(saved.tensors[f"model.{name}"], value, rtol=0, atol=0)

    denoiser = load_edm(path)
    x, sigma = torch.rand(2, 3, 8, 8, generator=generator), torch.tensor([0.07, 1.3])
    signed, level = 2 * x - 1, (2 * sigma)[:, None, None, None]
    c_in = 1 / (level**2 + 0.25).sqrt()
    with torch.no_grad():
        found = network(c_in * signed, (2 * sigma).log() / 4)
        expected = 0.25 * c_in**2 * signed + 0.5 * level * c_in * found
        # float32, some 20 layers; the noise level takes two logarithms
        torch.testing.assert_close(denoiser(x, sigma), (expected + 1) / 2, rtol=1e-4, atol=1e-5)
    assert not denoiser.training
    assert denoiser.data_std == 0.25


def test_potential_of_a_loaded_file(network, program, tmp_path, generator):
    """The whole way: file, denoiser, probability flow."""
    network, variant = network
    path = tmp_path / "tiny.pkl"
    write_edm(path, program, network, **ARGUMENTS, **variant)
    x = torch.rand(2, 3, 8, 8, generator=generator)
    nats = potential(load_edm(path), x, 3, 1, generator)
    assert nats.shape == (2,)
    assert nats.isfinite().all()


def test_command(network, program, tmp_path):
    """`course potential` on a photograph says nats, bits, licence and errors."""
    network, variant = network
    path, picture = tmp_path / "edm-ffhq-64x64-uncond-vp.pkl", tmp_path / "photo.png"
    write_edm(path, program, network, **ARGUMENTS, **variant)
    Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)).save(picture)
    call = ["potential", str(picture), "--checkpoint", str(path), "--steps", "2"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "CC BY-NC-SA 4.0, non-commercial" in done.output
    assert "3 x 8 x 8 values in [0, 1]" in done.output
    assert re.search(r"-log p = -?[\d.]+ nats, .* bits per dimension", done.output)
    wrong = CliRunner().invoke(app, [*call[:3], "vae_plates64"])
    assert isinstance(wrong.exception, CourseError)
    assert "not a denoiser" in str(wrong.exception)


def test_classes(program, tmp_path):
    """A model with classes wants to know which one: its potential is -log p(x | class)."""
    torch.manual_seed(0)
    network = song(label_dim=4, **VARIANTS["vp"])
    path = tmp_path / "tiny.pkl"
    options = {**ARGUMENTS, **VARIANTS["vp"], "label_dim": 4}
    write_edm(path, program, network, **options)
    with pytest.raises(CourseError, match="a label from 0 to 3, got None"):
        load_edm(path)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert (load_edm(path, label=0)(x, 0.5) != load_edm(path, label=3)(x, 0.5)).any()


class Malicious:
    """Runs a command when it is unpickled in the usual way."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("inside", [False, True])
def test_malicious_pickles_are_refused(inside, network, program, tmp_path):
    """Alone, or hidden among the weights: no command is run, and the message says what it was."""
    network, variant = network
    path, target = tmp_path / "bad.pkl", tmp_path / "proof"
    if inside:
        network.enc["8x8_conv"]._buffers["extra"] = Malicious(target)
        write_edm(path, program, network, **ARGUMENTS, **variant)
    else:
        path.write_bytes(pickle.dumps({"ema": Malicious(target)}))
    with pytest.raises(CourseError, match=rf"{os.system.__module__}\.system"):
        read_edm(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"cbuiltins\neval\n(S'1/0'\ntR.",
        b"cposix\nsystem\n(S'false'\ntR.",
        b"cnumpy\nload\n(S'x.npy'\ntR.",
        b"ctorch\nload\n(S'x.pt'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'__class__'\ntR.",
    ],
)
def test_other_ways_to_run_code_are_refused(payload, tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(payload)
    with pytest.raises(CourseError, match="could run any code"):
        read_edm(path)


def test_damaged_and_foreign_files(program, tmp_path):
    path = tmp_path / "tiny.pkl"
    with pytest.raises(CourseError, match="There is no file"):
        read_edm(path)
    with pytest.raises(CourseError, match=r"NVlabs/edm.*CC BY-NC-SA"):
        read_edm(tmp_path / "edm-ffhq-64x64-uncond-vp.pkl")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(CourseError, match="pointer of Git LFS"):
        read_edm(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(CourseError, match="damaged"):
        read_edm(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CourseError, match="an entry 'ema'"):
        read_edm(path)
    torch.manual_seed(0)
    network = song(**VARIANTS["vp"])
    write_edm(path, program, network, model_type="DhariwalUNet")
    with pytest.raises(CourseError, match="only EDMPrecond around SongUNet"):
        load_edm(path)
    write_edm(path, program, network, **ARGUMENTS, channel_mult_out=2, gain=1.0)
    with pytest.raises(CourseError, match=r"not known here: \['channel_mult_out', 'gain'\]"):
        load_edm(path)
    options = {**ARGUMENTS, **VARIANTS["vp"], "model_channels": 16}
    write_edm(path, program, network, **options)
    with pytest.raises(CourseError, match="does not fit"):
        load_edm(path)
    with pytest.raises(CourseError, match="standard or residual encoder"):
        SongUNetForm(8, 3, encoder_type="skip")


def test_signed_range_adds_n_log_2(generator):
    """A Gaussian world on [-1, 1] seen on [0, 1]: the potential falls by n log 2, exactly."""
    img_size = (1, 8, 8)
    signed = power_law(img_size, std=0.4, mean=0.0)
    unit = SignedRange(_Module(signed), img_size, 0.2)
    x = 0.5 + signed.sample(2, generator=generator) / 2
    probes = Hutchinson(rademacher(img_size, 1, generator=generator))
    here = potential(unit, x, 8, probes, sigma_min=0.01, sigma_max=50.0)
    told = partial(signed)
    told.data_std = 0.4
    # In the frame of [-1, 1] the solver's time starts elsewhere: the same steps, shifted.
    there = potential(told, 2 * x - 1, 8, probes, sigma_min=0.02, sigma_max=100.0)
    torch.testing.assert_close(here, there - 64 * math.log(2), rtol=1e-5, atol=0.01)


def test_noise_ends_where_the_published_networks_were_trained(generator):
    """A potential starts at sigma = 80 of [-1, 1], the largest level of their training."""
    levels = []

    def signed(x, sigma):
        levels.append(sigma.max().item())
        return x / (1 + sigma.square().view(-1, 1, 1, 1))

    x = torch.rand(1, 1, 4, 4, generator=generator)
    potential(SignedRange(_Module(signed), (1, 4, 4), 0.25), x, 2, 1, generator)
    assert max(levels) == pytest.approx(80, rel=1e-5)


class _Module(nn.Module):
    def __init__(self, world):
        super().__init__()
        self.world = world

    def forward(self, x, sigma):
        return self.world(x, sigma)


def test_labels_enter_with_unit_variance(generator):
    """One-hot labels times sqrt(classes), through `map_label`, added to the embedded level."""
    torch.manual_seed(0)
    network = song(label_dim=4, **VARIANTS["vp"]).eval()
    x, level = torch.randn(4, 3, 8, 8, generator=generator), torch.full((4,), 0.2)
    with torch.no_grad():
        found = network(x, level, torch.eye(4))
        plain = song(**VARIANTS["vp"]).eval()
        shared = {k: v for k, v in network.state_dict().items() if "map_label" not in k}
        plain.load_state_dict(shared)
        added = network.map_label(2 * torch.eye(4))  # sqrt(4)
        plain.map_noise.register_forward_hook(lambda module, inputs, out: out + added)
        torch.testing.assert_close(found, plain(x, level))
