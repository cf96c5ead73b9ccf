"""Fit the Gaussian behind `naturalness` on a folder of pristine photographs.

    python -m course_lib.metrics.fit_naturalness --root FOLDER

FOLDER holds .jpg or .png photographs, for instance the 200 of images/train of BSDS500. Two files
are written: mean and covariance (safetensors) and a card (json) that says where they come from.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from skimage.io import imread
from tqdm import tqdm

from course_lib.metrics.naturalness import PATCH, PRISTINE, patch_features
from course_lib.project import write_atomically

DATA = "BSDS500, the 200 photographs of images/train (Arbelaez, Maire, Fowlkes & Malik 2011)"
LICENCE = (
    "The photographs may be used for non-commercial research and education; none of them is "
    "contained here: only 36 means and a 36 x 36 covariance over all their patches."
)


def fit(
    root: Annotated[Path, typer.Option(help="Folder with .jpg or .png photographs.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")] = PRISTINE,
    data: Annotated[str, typer.Option(help="What the photographs are, for the card.")] = DATA,
    licence: Annotated[str, typer.Option(help="Their licence, for the card.")] = LICENCE,
) -> None:
    """Mean and covariance of the 36 patch features over all photographs."""
    files = sorted(path for path in root.glob("*") if path.suffix in (".jpg", ".png"))
    if not files:
        raise typer.BadParameter(f"{root} holds no .jpg or .png photograph.", param_hint="--root")
    features = torch.cat([_features(path) for path in tqdm(files, unit="photograph")])
    save_file({"mean": features.mean(0), "covariance": features.mT.cov()}, out)
    card = {
        "what": "Gaussian of the 36 features of pristine patches",
        "data": data,
        "licence": licence,
        "command": "python -m course_lib.metrics.fit_naturalness --root FOLDER",
        "photographs": len(files),
        "patches": len(features),
        "patch_side_in_pixels": PATCH,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }
    write_atomically(out.with_suffix(".json"), json.dumps(card, indent=2) + "\n")


def _features(path: Path) -> torch.Tensor:
    image = torch.tensor(imread(path), dtype=torch.float64) / 255
    image = image.unsqueeze(-1) if image.ndim == 2 else image[..., :3]
    return patch_features(image.movedim(-1, 0).unsqueeze(0)).squeeze(0)


if __name__ == "__main__":
    typer.run(fit)
