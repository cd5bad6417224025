from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from pipeline.topics import load_topics
from pipeline.topics.views import draw_map

YEARS = {"space": 1991, "motors": 1992, "faith": 1995, "chips": 1995, "health": 1999}


@pytest.fixture(scope="session")
def browser(load, tmp_path_factory):
    """A page of a headless Chromium that reaches no network."""
    module = load("topics/views/browser.py")
    if module.executable() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    browser = module.Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@dataclass
class Dated:
    uri: str
    topics: object
    subjects: dict


@pytest.fixture(scope="session")
def dated(fitted, helpers, tmp_path_factory):
    """The first model's tables with metadata: a year for each subject, and the same as other types."""
    directory = tmp_path_factory.mktemp("dated") / "lake"
    shutil.copytree(Path(fitted.uri).parent, directory)
    table = lance.dataset(str(directory / "docs.lance"))
    ids = table.to_table(columns=["id"]).column("id").to_pylist()
    subjects = {name: name.split("-")[0] for name in ids}
    years = [YEARS[subjects[name]] for name in ids]
    # A day later for each document of a subject.
    times = [
        datetime(year, 3, 1, tzinfo=UTC) + timedelta(days=int(name.split("-")[1]))
        for year, name in zip(years, ids, strict=True)
    ]
    columns = {
        "subject": pa.array([subjects[name] for name in ids]),
        "year": pa.array([None if name == ids[0] else year for year, name in zip(years, ids, strict=True)], pa.int32()),
        "time": pa.array(times, pa.timestamp("us", "UTC")),
        "day": pa.array([time.date() for time in times], pa.date32()),
        "text_time": pa.array(
            [None if i == 1 else "soon" if i == 2 else time.isoformat() for i, time in enumerate(times)]
        ),
        "size": pa.array([float(year) for year in years]),
    }
    table.add_columns(pa.table({"id": ids, **columns}).drop_columns("id").to_reader())
    return Dated(str(directory / "docs"), load_topics(directory / "docs"), subjects)


@pytest.fixture(scope="session")
def drawn(dated):
    """A map of all documents."""
    return draw_map(dated.topics)
