"""Weights of score-SDE (Song et al. 2021): a list of averaged tensors, without names."""

import pickle
from pathlib import Path

import torch
from torch import nn

from course_lib.models.published.catalogue import where_from
from course_lib.models.published.weight_files import check_file, load_whole
from course_lib.project import CourseError


def load_song(path: Path, model: nn.Module) -> nn.Module:
    """The averaged weights of a score-SDE file, put into a model of the same architecture.

    They are a list in the order of `model.parameters()`, those without a gradient left out;
    buffers come from the entry "model", whose names begin with "module.".

    Args:
        path: a file {optimizer, model, ema: {decay, num_updates, shadow_params}, step}.
        model: with fresh weights.

    Raises:
        CourseError: no such file, a damaged one, or one that does not fit: another number of
            tensors, or other shapes.
    """
    check_file(path, where_from(path.name))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        averaged, named = content["ema"]["shadow_params"], content["model"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise CourseError(f"{path} is damaged, or not a score-SDE file ({error}).") from error
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    if len(averaged) != len(names):
        raise CourseError(
            f"{path} holds {len(averaged)} averaged tensors, the model has {len(names)} "
            "parameters. Build it in the configuration that it was trained in."
        )
    state = {name.removeprefix("module."): value for name, value in named.items()}
    return load_whole(model, state | dict(zip(names, averaged, strict=True)), str(path))
