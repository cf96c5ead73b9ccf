"""Markdown that generated pages are made of."""


def table_row(*cells: str) -> str:
    """One row of a table: line breaks become spaces, and bars are escaped."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
