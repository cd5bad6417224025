"""Every stage in a plain Python loop, without a cluster: the same rows as the job's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline import VectorTable
from pipeline.columns import from_ipc, to_ipc
from pipeline.corpus import ReaderOptions
from pipeline.flow.encoder import EncoderPlan
from pipeline.flow.parcel import Parcel, concat
from pipeline.flow.stages import EmbedStage, ReadStage, WriteStage
from pipeline.flow.work import plan_work, slices_of
from pipeline.table import Committer, Staged, TableLocation
from pipeline.table.companions.files import begin_files

pytestmark = pytest.mark.cluster


@pytest.fixture
def twin(mixed, tmp_path):
    """An empty table with the spec and the calibration of `mixed`."""
    table = VectorTable.open(mixed.table)
    location = TableLocation.parse(tmp_path / "lake" / "twin")
    return VectorTable.create(
        location,
        spec=table.spec,
        meaning=table.meaning,
        calibration=table.calibration,
        halves=table.halves,
        keep=pa.schema([table.schema.field("theme")]),
        reader=table.reader,
    )


def test_a_loop_over_the_stages_does_what_the_job_does(mixed, lab, twin):
    location, spec = twin.location, twin.spec
    work = plan_work([str(mixed.corpus)], location, twin, ReaderOptions())
    read = ReadStage(spec=spec, options=work.options, keep=work.keep, done=work.units.done)
    encoder = EncoderPlan(spec, twin.meaning, "cpu", None, to_ipc(twin.calibration.to_arrow()))
    embed = EmbedStage(encoder, with_text=True)
    write = WriteStage(location)
    tokens = 0
    begin_files(location, [(file.uri, file.version) for file in work.units.files], "loop")
    with Committer(location, "loop", slices_of=lambda record: slices_of(record, work.options)) as committer:
        for unit in work.units:
            for documents in read(pa.table({"unit": [unit.to_json()]})):
                for rows in embed(documents):
                    (parcel,) = Parcel.from_block(write(rows))
                    committer.add(Staged.from_table(parcel.rows), parcel.rejects, parcel.files)
                    tokens += parcel.n_tokens
    assert (committer.totals.rows, committer.totals.rejects, tokens) == (
        mixed.report.documents,
        mixed.report.rejects,
        mixed.report.tokens,
    )
    assert twin.fingerprint == mixed.report.fingerprint
    mine, jobs = lab.stored(twin.location), lab.stored(mixed.table)
    assert set(mine) == set(jobs)
    same = sorted(set(mine) - {"p-0"})  # of the twins, another one may have been first
    exact = [name for name in mine[same[0]] if name not in {"vector", "hs_norm", "rw_norm"}]
    assert [[mine[name][column] for column in exact] for name in same] == [
        [jobs[name][column] for column in exact] for name in same
    ]
    cosine = (lab.vectors(mine[name] for name in same) * lab.vectors(jobs[name] for name in same)).sum(axis=1)
    assert cosine.min() > 0.999
    assert plan_work([str(mixed.corpus)], location, twin, ReaderOptions()).units.is_empty


def test_reading_skips_what_is_done(mixed):
    table = VectorTable.open(mixed.table)
    options = ReaderOptions(keep=("theme",), slice_rows=table.reader["slice_rows"])
    fresh = plan_work([str(mixed.corpus)], TableLocation.parse("elsewhere/none"), None, options)
    known = plan_work([str(mixed.corpus)], table.location, table, ReaderOptions())
    assert not fresh.units.is_empty
    assert known.units.is_empty
    read = ReadStage(spec=table.spec, options=known.options, keep=known.keep, done=known.units.done)
    streams = [unit for unit in fresh.units if any(part.slices is None for part in unit.parts)]
    assert streams
    assert not any(parcel.rows.num_rows for unit in streams for parcel in read.parcels(unit))


def parcel(number, tokens=None):
    rows = pa.table({"id": pa.array([f"{number}-{row}" for row in range(number)], pa.string())})
    rejects = pa.table({"reason": pa.array(["empty"] * number, pa.string())})
    return Parcel(rows=rows, rejects=rejects, tokens=tokens, n_read=2 * number, n_tokens=7, begun=100.0 + number)


def test_a_parcel_survives_the_journey_as_one_row():
    sent = parcel(3, tokens=pa.table({"tokens": [[1, 2], [], [3]]}))
    block = sent.to_block()
    assert block.num_rows == 1
    assert list(Parcel.from_block(pa.concat_tables([block, block]))) == [sent, sent]
    assert next(Parcel.from_block(parcel(0).to_block())).tokens is None


def test_parcels_join_in_order():
    joined = concat([parcel(2), parcel(0), parcel(1)])
    assert joined.rows["id"].to_pylist() == ["2-0", "2-1", "1-0"]
    assert (joined.rejects.num_rows, joined.n_read, joined.n_tokens, joined.begun) == (3, 6, 21, 100.0)


def test_blocks_of_parcels_have_one_schema_whatever_they_carry():
    other = Parcel(rows=pa.table({"other": [1.5]}), rejects=pa.table({}))
    assert other.to_block().schema == parcel(2).to_block().schema
    assert from_ipc(to_ipc(other.rows)).equals(other.rows)
