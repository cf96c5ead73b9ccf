"""Set up the course with one command; needs Python 3.11 to 3.13 and nothing else.

    python3 make.py book            install, then build the HTML book
    python3 make.py test [options]  install, fetch the weights of LPIPS and BRISQUE if there is a
                                    network, then run every test and notebook through pytest

Inside a virtual or conda environment that environment is used, otherwise `.venv` beside this file
is created and used again. Every command is printed before it runs.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BUILD = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"


def run(*command):
    """Print a command, run it at the root of the course, and stop if it fails."""
    print("$", shlex.join(map(str, command)), flush=True)
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        sys.exit(code if code > 0 else 1)


def attempt(*command):
    """Print a command and run it at the root of the course; go on if it fails."""
    print("$", shlex.join(map(str, command)), flush=True)
    if subprocess.run(command, cwd=ROOT).returncode:
        print("The tests that need it are skipped.", flush=True)


def environment():
    """The interpreter to use: this one inside an environment, else the one in `.venv`."""
    is_conda = Path(sys.prefix, "conda-meta").is_dir()
    if sys.prefix != sys.base_prefix or is_conda:
        return sys.executable
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        if importlib.util.find_spec("ensurepip") is None:
            sys.exit(
                "This Python cannot create environments (ensurepip is missing). On Debian "
                f"or Ubuntu: sudo apt install python3.{sys.version_info.minor}-venv, then again."
            )
        run(sys.executable, "-m", "venv", "--clear", VENV)
    return str(python)


def install(python, extra):
    """Install the course with the exact versions that its authors test with."""
    if subprocess.run([python, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode:
        run(python, "-m", "ensurepip", "--upgrade")
    run(python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", f".[{extra}]")


def main():
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"The course needs Python 3.11, 3.12 or 3.13; this is {found}.")
    task, *options = sys.argv[1:] or [""]
    if task not in ("book", "test") or (task == "book" and options):
        sys.exit(__doc__)
    python = environment()
    install(python, task)
    if task == "test":
        attempt(python, "-m", "course_lib", "fetch", "perceptual")
        run(python, "-m", "pytest", *options)
        return
    shutil.rmtree(ROOT / "_build", ignore_errors=True)  # a warning is only raised for a fresh page
    run(python, "-c", BUILD, "build", ".", "-n", "-W", "--keep-going")
    print(f"The book is ready: {ROOT / '_build' / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
