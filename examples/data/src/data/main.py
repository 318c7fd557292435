"""Writes a table as Parquet, reads it, and says what it found."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd


def main() -> None:
    """Make a thousand rows, write them, read them, compare."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"city": ["Oslo", "Lima"] * 500, "value": rng.normal(size=1000)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        table.to_parquet(path)
        again = pd.read_parquet(path)
    pd.testing.assert_frame_equal(table, again, check_dtype=False)
    means = again.groupby("city")["value"].mean()
    print(f"{len(again)} rows, Lima {means['Lima']:.4f}, Oslo {means['Oslo']:.4f}")
