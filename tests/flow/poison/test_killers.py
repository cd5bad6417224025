"""Documents that kill the process that works on them: found, quarantined, and everything else goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from ray import cloudpickle

from pipeline import VectorTable, embed
from pipeline.errors import RunError
from pipeline.flow import job, options
from pipeline.flow.encoder_plan import EncoderPlan
from pipeline.flow.stages import EmbedStage, ReadStage, WriteStage
from pipeline.rejects import KILLER

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def die_of(texts, poison):
    """End this process as a segmentation fault or the kernel's memory killer would."""
    if any(poison in text for text in texts):
        os.kill(os.getpid(), signal.SIGKILL)


class KillingEmbed(EmbedStage):
    def _embed(self, parcel):
        die_of(parcel.rows.column("text").to_pylist(), "xxpoison")
        return super()._embed(parcel)


class KillingRead(ReadStage):
    __slots__ = ()

    def tokenize(self, documents):
        die_of(documents.column("text").to_pylist(), "xxvenom")
        return super().tokenize(documents)


class KillingStage(WriteStage):
    __slots__ = ()

    def write(self, rows):
        die_of(rows.column("text").to_pylist(), "xxbane")
        return super().write(rows)


class Mortal(EncoderPlan):
    """A model that cannot be loaded: the process dies each time."""

    __slots__ = ()

    def build(self):
        if self.calibration is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().build()


class Sensitive(EncoderPlan):
    """An encoder that dies of some texts while it is calibrated."""

    __slots__ = ()

    def build(self):
        encoder = super().build()
        calibrated, encode = encoder.calibrated, encoder.encode_raw
        encoder.calibrated = lambda texts, **more: die_of(texts, "xxpoison") or calibrated(texts, **more)
        encoder.encode_raw = lambda texts, **more: die_of(texts, "xxpoison") or encode(texts, **more)
        return encoder


@pytest.fixture(autouse=True)
def by_value():
    """Workers cannot import this module: what it defines travels whole."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def deadly(monkeypatch):
    monkeypatch.setattr(job, "EmbedStage", KillingEmbed)
    monkeypatch.setattr(job, "ReadStage", KillingRead)
    monkeypatch.setattr(job, "WriteStage", KillingStage)
    monkeypatch.setattr(job, "EncoderPlan", Sensitive)
    monkeypatch.setattr(options, "SLICE_ROWS", 8)


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


def test_a_killer_is_quarantined_and_tried_again_when_asked(ray_cluster, lab, deadly, copied, monkeypatch, tmp_path):
    source, before = tmp_path / "killers.parquet", set(lab.stored(copied))
    everything, harmless = poisoned(lab, source, {11: "xxpoison"})
    report = embed(str(source), copied)
    assert (report.documents, report.rejects) == (29, 1)
    assert killers_in(copied, lab) == {("killers.parquet", 11, "embed")}
    assert set(lab.stored(copied)) == before | harmless
    assert embed(str(source), copied).nothing_to_do

    monkeypatch.undo()  # as after an update that cured it
    again = embed(str(source), copied, retry_rejects=True)
    assert (again.documents, again.rejects) == (1, 0)
    assert not killers_in(copied, lab)
    assert set(lab.stored(copied)) == before | everything
    assert embed(str(source), copied, retry_rejects=True).nothing_to_do
    assert not lab.old_orphans(copied)


@pytest.mark.slow
def test_killers_of_every_stage_in_a_table_that_is_still_to_be_made(ray_cluster, lab, deadly, tmp_path):
    source, table = tmp_path / "killers.parquet", str(tmp_path / "lake" / "docs")
    _, harmless = poisoned(lab, source, {3: "xxpoison", 4: "xxpoison", 11: "xxvenom", 20: "xxbane"})
    report = embed(str(source), table, lab.SPEC)
    stages = {3: "embed", 4: "embed", 11: "read", 20: "commit"}
    assert killers_in(table, lab) == {("killers.parquet", row, stage) for row, stage in stages.items()}
    assert set(lab.stored(table)) == harmless
    assert (report.documents, report.table_rejects) == (26, 4)
    assert embed(str(source), table).nothing_to_do
    assert not lab.old_orphans(table)


@pytest.mark.slow
def test_a_replica_that_can_never_be_built_stops_the_run(ray_cluster, lab, copied, monkeypatch, tmp_path):
    monkeypatch.setattr(job, "EncoderPlan", Mortal)
    source = str(lab.write(tmp_path / "a.jsonl", lab.documents(3, "m")))
    with pytest.raises(RunError, match="died 3 times while the model was being loaded") as caught:
        embed(source, copied)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert embed(source, copied).documents == 3
