"""The job on an engine in this process: what it does where another run is in its way."""

from __future__ import annotations

import dataclasses
import os

import pytest
from in_process import InProcessEngine

from pipeline import VectorTable, embed
from pipeline.columns import from_ipc, to_ipc
from pipeline.embedding.calibration import Calibration


@pytest.fixture
def spec(stub_model):
    return {"model": stub_model, "max_tokens": 24, "pooling": "last"}


def test_what_was_calibrated_for_a_table_that_another_run_made_is_dropped(lab, stub, spec, tmp_path):
    """Both planned the same; the other one had other texts in its sample."""
    source, table = lab.write(tmp_path / "a.parquet", lab.documents(12)), str(tmp_path / "lake" / "docs")
    seen = []

    class Late(InProcessEngine):
        def calibrate(self, encoder, plan, read):
            made = super().calibrate(encoder, plan, read)
            if not seen:
                seen.append(made)
                winner = VectorTable.open(other)
                VectorTable.create(
                    table,
                    spec=winner.spec,
                    meaning=winner.meaning,
                    calibration=winner.calibration,
                    halves=winner.halves,
                    reader=winner.reader,
                )
            return made

        def parcels(self, sized, stages):
            seen.append(stages)
            return super().parcels(sized, stages)

    other = str(tmp_path / "lake" / "other")
    embed(str(lab.write(tmp_path / "b.parquet", lab.documents(5, "b", 50))), other, spec, engine=shifted(stub))
    report = embed(str(source), table, spec, engine=stub.planted(Late()))
    made, stages = seen
    winner = VectorTable.open(other)
    assert report.fingerprint == winner.fingerprint
    assert Calibration.from_arrow(from_ipc(made.calibration)).hash != winner.calibration_hash
    assert Calibration.from_arrow(from_ipc(stages.encoder.calibration)).hash == winner.calibration_hash
    assert stages.sample is None, "vectors of the calibration that lost would have been taken over"


def test_a_file_of_which_nothing_is_stored_is_named_whatever_the_others_gave(lab, stub, spec, tmp_path, monkeypatch):
    source, table = tmp_path / "in", str(tmp_path / "lake" / "docs")
    engine = stub.planted(InProcessEngine())
    lab.write(source / "good.jsonl", [*lab.documents(5), {"id": "none", "text": ""}])
    lab.write(source / "twins.jsonl", lab.documents(2))
    lab.write(source / "vain.jsonl", [{"id": "e", "text": " "}, *lab.documents(1)])
    lab.write(source / "nothing.jsonl", [])
    for number in range(3):
        (source / f"bad{number}.parquet").write_bytes(b"PAR1 broken")
    (source / "page.html").write_text("")
    monkeypatch.setattr("pipeline.flow.report.MAX_FAILED_FILES", 3)
    report = embed(str(source), table, spec, engine=engine)
    bad = {f"{source.as_uri()}/bad{number}.parquet": "unreadable" for number in range(3)}
    assert (dict(report.failed_files), report.more_failed_files, report.failed) == (bad, 1, False)
    assert report.notes() == [
        "not read: 1 file (.html)",
        f"nothing could be stored of: {', '.join(f'{uri} (unreadable)' for uri in bad)}, 1 file more",
    ]
    again = embed(str(source), table, engine=engine)
    assert (again.nothing_to_do, again.failed, again.failed_files) == (True, False, {})


@pytest.mark.parametrize(
    ("rows", "failed"),
    [([{"id": "x", "text": ""}], True), ([{"id": "d-0", "text": "a twin"}], False), ([], False)],
)
def test_a_run_that_stores_nothing_has_failed_unless_the_table_has_all_of_it(lab, stub, spec, tmp_path, rows, failed):
    source, table = tmp_path / "in", str(tmp_path / "lake" / "docs")
    lab.write(source / "good.jsonl", lab.documents(3))
    embed(str(source), table, spec, engine=stub.planted(InProcessEngine()))
    lab.write(source / "new.jsonl", rows)
    assert embed(str(source), table, engine=stub.planted(InProcessEngine())).failed is failed


def test_a_broken_file_that_is_put_back_with_its_old_size_and_time_is_read(lab, stub, spec, tmp_path):
    source, table, engine = tmp_path / "in", str(tmp_path / "lake" / "docs"), stub.planted(InProcessEngine())
    lab.write(source / "good.jsonl", lab.documents(3))
    path = lab.write(source / "late.parquet", lab.documents(600, "p"))
    sound, times = path.read_bytes(), path.stat()
    path.write_bytes(sound[:-8] + b"rubbish.")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(embed(str(source), table, spec, engine=engine).failed_files) == [path.as_uri()]
    assert embed(str(source), table, engine=engine).nothing_to_do
    path.write_bytes(sound)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    mended = embed(str(source), table, engine=engine)
    assert (mended.documents, mended.table_rejects, mended.table_rows) == (600, 0, 603)
    assert embed(str(source), table, engine=engine).nothing_to_do


def shifted(stub):
    """An engine whose calibration is another one than that of the stub."""

    class Shifted(InProcessEngine):
        def calibrate(self, encoder, plan, read):
            made = super().calibrate(encoder, plan, read)
            usual = Calibration.from_arrow(from_ipc(made.calibration))
            other = dataclasses.replace(usual, hidden_mean=usual.hidden_mean + 1)
            return dataclasses.replace(made, calibration=to_ipc(other.to_arrow()))

    return stub.planted(Shifted())


def test_a_file_in_another_dialect_is_read_so_again_and_exchanged_when_another_is_asked_for(lab, stub, spec, tmp_path):
    source, table = tmp_path / "a.csv", str(tmp_path / "lake" / "docs")
    engine = stub.planted(InProcessEngine())
    source.write_bytes("id;text\n1;river caf\xe9\n2;boat\n".encode("cp1252"))
    first = embed(str(source), table, spec, engine=engine)
    assert (first.documents, first.reasons, first.unfinished_files) == (1, {"not UTF-8": 1}, ())
    assert first.notes() == ["1 file read with delimiter ';', quotes doubled, utf-8"]
    again = embed(str(source), table, engine=engine)
    assert (again.nothing_to_do, again.notes()) == (True, [])
    other = embed(str(source), table, engine=engine, encoding="cp1252")
    assert (other.documents, other.table_rejects, other.replaced_rows) == (2, 0, 1)
    assert {row["text"] for row in lab.stored(table).values()} == {"river caf\xe9", "boat"}
    assert embed(str(source), table, engine=engine).nothing_to_do, "in the dialect in which it was read before"
