"""A support vector regression read from the text files of LIBSVM."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

FEATURES = 36


@dataclass(frozen=True, eq=False)
class SupportVectorRegression:
    """f -> sum_s c_s exp(-gamma |v_s - g|^2) - rho, with g the features scaled to [lower, upper].

    Source: Chang & Lin 2011, doi:10.1145/1961189.1961199.
    """

    gamma: float
    rho: float
    coefficients: Float[Tensor, "s"]
    vectors: Float[Tensor, "s f"]
    target: tuple[float, float]  # lower, upper
    least: Float[Tensor, "f"]
    most: Float[Tensor, "f"]

    def __call__(self, features: Float[Tensor, "b f"]) -> Float[Tensor, "b"]:
        """One value per row of features; features outside their range are extrapolated."""
        lower, upper = self.target
        least, most = self.least.to(features), self.most.to(features)
        scaled = lower + (upper - lower) * (features - least) / (most - least)
        difference = scaled.unsqueeze(1) - self.vectors.to(features)
        kernel = torch.exp(-self.gamma * difference.square().sum(-1))
        return kernel @ self.coefficients.to(features) - self.rho


def load_regression(model: Path, ranges: Path) -> SupportVectorRegression:
    """An epsilon-SVR with a radial kernel, and the ranges that `svm-scale` wrote with it."""
    for path in (model, ranges):
        if not path.is_file():
            raise FileNotFoundError(
                f"brisque: {path} does not exist. BRISQUE needs the files 'allmodel' and "
                "'allrange' (below 1 MB together) in one folder; `course fetch perceptual` gets "
                "them. `naturalness` needs no file."
            )
    try:
        gamma, rho, coefficients, vectors = _read_model(model)
        target, least, most = _read_ranges(ranges)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"brisque: {model} and {ranges} are not an epsilon-SVR with a radial kernel on "
            f"{FEATURES} features and its ranges, as LIBSVM writes them ({error})."
        ) from error
    return SupportVectorRegression(gamma, rho, coefficients, vectors, target, least, most)


def _read_model(path: Path) -> tuple[float, float, Tensor, Tensor]:
    head, body = path.read_text(encoding="ascii").split("SV\n", 1)
    options = dict(line.split(maxsplit=1) for line in head.splitlines())
    kind = (options["svm_type"], options["kernel_type"])
    if kind != ("epsilon_svr", "rbf"):
        raise ValueError(f"found {kind[0]} with kernel {kind[1]}")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    if len(rows) != int(options["total_sv"]):
        raise ValueError(f"found {len(rows)} support vectors instead of {options['total_sv']}")
    coefficients = torch.tensor([float(row[0]) for row in rows], dtype=torch.float64)
    vectors = torch.zeros(len(rows), FEATURES, dtype=torch.float64)  # zeros are left out
    for i, row in enumerate(rows):
        for entry in row[1:]:
            index, value = entry.split(":")
            vectors[i, _feature(index)] = float(value)
    return float(options["gamma"]), float(options["rho"]), coefficients, vectors


def _read_ranges(path: Path) -> tuple[tuple[float, float], Tensor, Tensor]:
    marker, target, *lines = path.read_text(encoding="ascii").splitlines()
    if marker.strip() != "x":
        raise ValueError(f"{path.name} begins with {marker!r} instead of 'x'")
    lower, upper = map(float, target.split())
    table = torch.full((FEATURES, 2), torch.nan, dtype=torch.float64)
    for line in filter(str.strip, lines):
        index, least, most = line.split()
        table[_feature(index)] = torch.tensor([float(least), float(most)], dtype=torch.float64)
    if not (table[:, 1] > table[:, 0]).all():
        raise ValueError(f"{path.name} lacks a range, or holds an empty one")
    return (lower, upper), table[:, 0], table[:, 1]


def _feature(index: str) -> int:
    """LIBSVM counts from 1."""
    if not 1 <= int(index) <= FEATURES:
        raise ValueError(f"found feature {index}")
    return int(index) - 1
