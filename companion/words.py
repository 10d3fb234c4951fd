"""The words nobody may publish: one a line of a file, `#` begins a comment (H3)."""

from importlib.resources import files
from pathlib import Path

from care.circle import WordList

SHIPPED = files("companion") / "texts" / "forbidden_words.txt"


def read_words(file: str | None) -> WordList:
    """Read the file, or the list that is shipped. Raises OSError or UnicodeDecodeError."""
    source = Path(file) if file is not None else SHIPPED
    lines = source.read_text("utf-8-sig").splitlines()
    return WordList(line.partition("#")[0] for line in lines)
