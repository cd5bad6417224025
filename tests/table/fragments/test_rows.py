"""Rows by their numbers, as `LanceDataset.take` gives them."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.table.fragments.rows import take_rows


@pytest.mark.parametrize("deleted", ["false", "n % 3 = 1", "n < 25"])
@pytest.mark.parametrize("wanted", [[], [0], [5, 6, 30], [30, 2, 2, 17, 0]])
def test_rows_come_in_the_order_in_which_they_are_named(tmp_path, deleted, wanted):
    """Of several fragments, one of which may be gone as a whole."""
    names = [f"row {number}" for number in range(60)]
    dataset = lance.write_dataset(
        pa.table({"n": np.arange(60), "s": names}), str(tmp_path / "t.lance"), max_rows_per_file=20
    )
    dataset.delete(deleted)
    rows = np.array(wanted, np.int64)
    taken = take_rows(dataset, rows, ["s", "n"])
    assert taken.column_names == ["s", "n"]
    left = dataset.to_table(columns=["s", "n"])
    assert taken.to_pylist() == left.take(pa.array(rows)).to_pylist()
