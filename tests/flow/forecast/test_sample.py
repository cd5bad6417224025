from __future__ import annotations

import gzip
import json

import pytest

from pipeline.errors import SourceError
from pipeline.flow.embed import plan_embed
from pipeline.flow.forecast.sample import STRATA, draw_sample
from pipeline.flow.job import read_stage


@pytest.fixture
def sample_of(lab, tmp_path):
    """A sample of a folder, and all tokens that the folder holds."""

    def sample_of(folder, **options):
        task = plan_embed(str(folder), tmp_path / "lake" / "docs", lab.SPEC, **options)
        read = read_stage(task.spec, task.options, task.work)
        tokens = sum(
            len(each)
            for unit in task.work.units
            for parcel in read.parcels(unit)
            for each in parcel.tokens["tokens"].to_pylist()
        )
        return draw_sample(task.work.units, read), tokens

    return sample_of


def test_a_small_corpus_is_read_whole_and_its_tokens_are_exact(lab, sample_of, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", lab.documents(200))
    sample, tokens = sample_of(tmp_path / "in")
    assert (sample.rows, sample.read, sample.is_counted) == (200, 200, True)
    assert round(sample.rows * sample.tokens_per_row()) == tokens == sample.read_tokens


def test_parts_of_unlike_length_are_told_apart(lab, sample_of, tmp_path):
    """Ten files, later ones of longer texts: their beginning alone would be wrong by half."""
    for part in range(10):
        rows = [{"id": f"{part}-{row}", "text": "word " * (1 + 2 * part)} for row in range(2000)]
        lab.write(tmp_path / "in" / f"{part}.parquet", rows)
    sample, tokens = sample_of(tmp_path / "in")
    assert len(sample.strata) == STRATA
    assert sample.read < sample.rows == 20_000
    assert sample.rows * sample.tokens_per_row() == pytest.approx(tokens, rel=0.1)


def test_rows_of_streams_are_reckoned_from_their_size(lab, sample_of, tmp_path):
    (tmp_path / "in").mkdir()
    texts = [" ".join(lab.sentence("space", 8 * row + part) for part in range(1 + row % 5)) for row in range(4000)]
    lines = [json.dumps({"id": str(row), "text": text}) for row, text in enumerate(texts)]
    with gzip.open(tmp_path / "in" / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    sample, tokens = sample_of(tmp_path / "in")
    assert not sample.is_counted
    assert sample.rows == pytest.approx(4000, rel=0.5)  # how well it packs is not known before it is read
    assert sample.tokens_per_row() == pytest.approx(tokens / 4000, rel=0.1)


def test_rejects_count_as_rows_without_tokens(lab, sample_of, tmp_path):
    rows = [{"id": str(row), "text": "a word" if row % 2 else " "} for row in range(100)]
    lab.write(tmp_path / "in" / "a.parquet", rows)
    sample, tokens = sample_of(tmp_path / "in")
    assert sample.rows * sample.tokens_per_row() == pytest.approx(tokens)


def test_chunks_are_counted_as_the_run_would_make_them(lab, sample_of, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", [{"id": "long", "text": "word " * 500}])
    sample, tokens = sample_of(tmp_path / "in", chunk="10:2")
    assert sample.strata[0].rows.num_rows > 10
    assert sample.read_tokens == tokens


def test_nothing_but_rejects_is_told(lab, sample_of, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", [{"id": "1", "text": " "}])
    with pytest.raises(SourceError, match="nothing of the sample can be embedded"):
        sample_of(tmp_path / "in")
