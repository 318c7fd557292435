"""RECORD, as in the PyPA spec "Recording installed projects"."""

import base64
import csv
import io
from typing import Final

from dpbuild.frozen import frozen

# The spec: sha256 or better; wheels in the wild use these three.
ALGORITHMS: Final = ("sha256", "sha384", "sha512")


@frozen
class Row:
    """One row: ``algorithm`` and ``digest`` (raw bytes) are empty for files that list no hash."""

    path: str
    algorithm: str = ""
    digest: bytes = b""
    size: int | None = None


def parse(text: str) -> dict[str, Row]:
    """All rows by path. Raises ValueError for rows that are malformed or contradict each other."""
    rows: dict[str, Row] = {}
    try:
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as problem:
        raise ValueError(f"RECORD is not CSV: {problem}") from None
    for line in lines:
        if not line:
            continue
        if len(line) != 3:
            raise ValueError(f"RECORD has a row with {len(line)} fields instead of 3: {line[0]!r}")
        row = _row(*line)
        if rows.setdefault(row.path, row) != row:
            raise ValueError(f"RECORD has {row.path!r} twice, with different values")
    return rows


def _row(path: str, digest: str, size: str) -> Row:
    number: int | None = None
    if size:
        if not (size.isascii() and size.isdigit()):
            raise ValueError(f"RECORD has a size that is no number for {path!r}")
        number = int(size)
    if not digest:
        return Row(path=path, size=number)
    algorithm, equals, value = digest.partition("=")
    if not equals or algorithm not in ALGORITHMS:
        raise ValueError(f"RECORD has a hash of an unknown kind for {path!r}: {algorithm}")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ValueError(f"RECORD has a malformed hash for {path!r}") from None
    return Row(path=path, algorithm=algorithm, digest=raw, size=number)


def render(rows: list[Row]) -> bytes:
    """RECORD's text, sorted by path, with ``\\n`` at line ends as the csv module's readers take it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in sorted(rows, key=lambda each: each.path):
        value = base64.urlsafe_b64encode(row.digest).rstrip(b"=").decode()
        writer.writerow(
            (
                row.path,
                f"{row.algorithm}={value}" if row.algorithm else "",
                "" if row.size is None else row.size,
            )
        )
    return out.getvalue().encode()
