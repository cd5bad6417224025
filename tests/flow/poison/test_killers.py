"""Documents that kill the process that works on them: found, quarantined, and everything else goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import deadly
import pytest

from pipeline import VectorTable, embed
from pipeline.errors import RunError
from pipeline.flow import options
from pipeline.rejects import KILLER

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def engine(ray_cluster, monkeypatch):
    from pipeline.flow.engines.ray_engine import RayEngine

    monkeypatch.setattr(options, "SLICE_ROWS", 8)
    return deadly.deadly(RayEngine())


@pytest.fixture
def copied(mixed, tmp_path):
    """A table that has its calibration."""
    shutil.copytree(Path(mixed.table).parent, tmp_path / "lake")
    return str(tmp_path / "lake" / "docs")


def poisoned(lab, path, words):
    """Thirty documents, some of which hold a deadly word: row → word."""
    rows = lab.documents(30, "k")
    for at, word in words.items():
        rows[at]["text"] += f" {word}"
    lab.write(path, rows)
    return {row["id"] for row in rows}, {row["id"] for at, row in enumerate(rows) if at not in words}


def killers_in(table, lab):
    rows = VectorTable.open(table).rejects().to_pylist()
    return {(lab.name_of(row["source"]), row["row"], row["stage"]) for row in rows if row["reason"] == KILLER}


def test_a_killer_is_quarantined_and_tried_again_when_asked(engine, lab, copied, tmp_path):
    source, before = tmp_path / "killers.parquet", set(lab.stored(copied))
    everything, harmless = poisoned(lab, source, {11: "xxpoison"})
    report = embed(str(source), copied, engine=engine)
    assert (report.documents, report.rejects) == (29, 1)
    assert killers_in(copied, lab) == {("killers.parquet", 11, "embed")}
    assert set(lab.stored(copied)) == before | harmless
    assert embed(str(source), copied).nothing_to_do

    again = embed(str(source), copied, retry_rejects=True)  # as after an update that cured it
    assert (again.documents, again.rejects) == (1, 0)
    assert not killers_in(copied, lab)
    assert set(lab.stored(copied)) == before | everything
    assert embed(str(source), copied, retry_rejects=True).nothing_to_do
    assert not lab.old_orphans(copied)


@pytest.mark.slow
def test_killers_of_every_stage_in_a_table_that_is_still_to_be_made(engine, lab, tmp_path):
    source, table = tmp_path / "killers.parquet", str(tmp_path / "lake" / "docs")
    _, harmless = poisoned(lab, source, {3: "xxpoison", 4: "xxpoison xxgas", 11: "xxvenom", 20: "xxbane"})
    report = embed(str(source), table, lab.SPEC, engine=engine)
    stages = {3: "embed", 4: "embed", 11: "read", 20: "commit"}
    assert killers_in(table, lab) == {("killers.parquet", row, stage) for row, stage in stages.items()}
    assert set(lab.stored(table)) == harmless
    assert (report.documents, report.table_rejects) == (26, 4)
    assert embed(str(source), table).nothing_to_do
    assert not lab.old_orphans(table)


@pytest.mark.slow
def test_a_replica_that_can_never_be_built_stops_the_run(engine, lab, copied, tmp_path):
    source = str(lab.write(tmp_path / "a.jsonl", lab.documents(3, "m")))
    with pytest.raises(RunError, match="died 3 times while the model was being loaded") as caught:
        embed(source, copied, engine=deadly.unbuildable(engine.engine))
    assert "\n" not in str(caught.value)
    assert embed(source, copied).documents == 3
