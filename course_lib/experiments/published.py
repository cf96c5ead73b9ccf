"""Numbers that papers print, for tables beside ours."""

from course_lib.results import Table

PROBLEMS = ("deblur", "x2", "inpaint")
# Table 1 of the short French paper on VBLE-xz that continues Biquard et al. 2024: PSNR (dB), LPIPS
# and coverage of 90 % intervals for three problems, digit by digit as printed. Two cells are
# probably slips (erratum E14).
VBLE: dict[str, str] = {
    "MAP-z": "33.25 0.090 – 33.28 0.0755 – 33.90 0.057 –",
    "VBLE-z": "33.29 0.089 0.74 33.36 0.0750 0.71 34.03 0.056 0.62",
    "VBLE-x": "33.21 0.9478(sic) 0.64 33.24 0.0751 0.075(sic) 33.34 0.062 0.64",
    "VBLE-xz (nu = 0)": "33.13 0.090 0.87 33.18 0.077 0.86 33.50 0.060 0.73",
    "VBLE-xz": "34.04 0.072 0.86 33.30 0.070 0.88 34.92 0.042 0.78",
}


def published_vble() -> Table:
    """Table 1 of the paper on VBLE-xz, as printed."""
    columns = [f"{name}, {unit}" for name in PROBLEMS for unit in ("dB", "LPIPS", "90 %")]
    cells = [[cell.replace("(sic)", " (sic)") for cell in row.split()] for row in VBLE.values()]
    return Table(list(VBLE), columns, cells, frozenset())
