"""Partitions: what stands in the path of a file can be kept."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.partitions import partition_types, partition_values


def test_values_stand_in_folders():
    assert partition_values("s3://b/t=1/year=2024/lang=de%20AT/n=/x=__HIVE_DEFAULT_PARTITION__/part=0.parquet") == {
        "t": "1",
        "year": "2024",
        "lang": "de AT",
        "n": None,
        "x": None,
    }
    assert partition_values("file:///a/=b/c.parquet") == {}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2023", "2024"], pa.int64()),
        (["1", "0.5"], pa.float64()),
        (["01", "12"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["de", "1"], pa.string()),
        (["1", "__HIVE_DEFAULT_PARTITION__"], pa.int64()),
        (["__HIVE_DEFAULT_PARTITION__"], pa.null()),
    ],
)
def test_types_are_those_of_delimited_text(values, kind):
    assert partition_types(f"file:///p={value}/a.csv" for value in values) == {"p": kind}


def test_partitions_are_kept_where_the_file_has_no_such_column(tmp_path, read):
    def write(folder, **columns):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"text": [folder, "x"], **columns}), tmp_path / folder / "a.parquet")

    write("year=2023/lang=en")
    write("year=2024/lang=de", year=[1, None])
    write("year=__HIVE_DEFAULT_PARTITION__/lang=fr")
    write("zz")
    (tmp_path / "year=2025").mkdir()
    (tmp_path / "year=2025" / "a.txt").write_text("a text")
    result = read(tmp_path, keep=("year", "lang"))
    assert result.keep == pa.schema([("year", pa.int64()), ("lang", pa.string())])
    assert result.documents["year"].to_pylist() == [2023, 2023, 1, None, 2025, None, None, None, None]
    assert result.documents["lang"].to_pylist() == ["en", "en", "de", "de", None, "fr", "fr", None, None]
    assert not result.misfits


def test_a_partition_that_does_not_fit_the_table_is_null_and_counted(tmp_path, read):
    (tmp_path / "year=soon").mkdir()
    pq.write_table(pa.table({"text": ["x", "y"]}), tmp_path / "year=soon" / "a.parquet")
    result = read(tmp_path, keep=("year",), schema=pa.schema([("year", pa.int64())]))
    assert result.documents["year"].to_pylist() == [None, None]
    assert result.misfits == {"year": 2}
