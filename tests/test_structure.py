"""Rules for the house as a whole: how large a folder may be, who may import whom, what nobody may import."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent.parent
MAX_MODULES = 16
"""In a folder, ``__init__`` apart: what one can take in at a glance."""

TABLE = (
    ("pipeline.table.location", "pipeline.table.schema", "pipeline.table.steps"),
    ("pipeline.table.store", "pipeline.table.swap"),
    ("pipeline.table.fragments", "pipeline.table.indexes"),
    ("pipeline.table.companions",),
    ("pipeline.table.known",),
    ("pipeline.table.changes",),
    ("pipeline.table.commit",),
    ("pipeline.table.query", "pipeline.table.upkeep", "pipeline.table.creation"),
    ("pipeline.table.duplicates",),
    ("pipeline.table",),
)
TOPICS = (
    ("pipeline.topics.keys", "pipeline.topics.schema", "pipeline.topics.tensors"),
    ("pipeline.topics.clustering",),
    ("pipeline.topics.words", "pipeline.topics.versions"),
    ("pipeline.topics.operations",),
    ("pipeline.topics",),
)
CORPUS = (
    ("pipeline.corpus.source_file", "pipeline.corpus.dialect", "pipeline.corpus.passed_over"),
    ("pipeline.corpus.formats", "pipeline.corpus.walk"),
    ("pipeline.corpus.dialects", "pipeline.corpus.openings"),
    ("pipeline.corpus.readers", "pipeline.corpus.sources", "pipeline.corpus.slices", "pipeline.corpus.partitions"),
    ("pipeline.corpus.planner", "pipeline.corpus.document_checks", "pipeline.corpus.kept_columns"),
    ("pipeline.corpus.reading",),
    ("pipeline.corpus",),
)
"""The floors inside a room, lowest first. What is not named stands with the room's own front, on the highest."""


@pytest.fixture(scope="session")
def structure(load):
    return load("bench/structure.py")


@pytest.fixture(scope="session")
def modules(structure):
    return structure.modules(ROOT)


def test_no_modules_import_each_other_in_a_circle(structure, modules):
    assert structure.circles(modules) == []


@pytest.mark.parametrize("floors", [None, TABLE, TOPICS, CORPUS], ids=["house", "table", "topics", "corpus"])
def test_no_import_runs_upward(structure, modules, floors):
    assert structure.upward(modules, floors or structure.FLOORS) == []


def test_every_module_stands_on_a_floor_of_its_own_room(structure, modules):
    shop_window = structure.floor_of("pipeline", structure.FLOORS)
    unplaced = {name for name in modules if structure.floor_of(name, structure.FLOORS) in {None, shop_window}}
    assert unplaced == {"pipeline"}


@pytest.mark.parametrize("floors", [TABLE, TOPICS, CORPUS], ids=["table", "topics", "corpus"])
def test_every_floor_names_modules_that_exist(modules, floors):
    assert {room for rooms in floors for room in rooms} <= modules.keys()


def test_no_folder_holds_more_than_one_can_take_in(structure, modules):
    sizes = {str(folder.relative_to(ROOT)): size for folder, size in structure.folders(modules).items()}
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_only_flow_jobs_and_one_module_of_the_service_import_ray_not_even_inside_a_function(modules):
    importing = {name for name, module in modules.items() if "ray" in module.foreign}
    others = {name for name in importing if not name.startswith(("pipeline.flow.", "jobs."))}
    assert others == {"pipeline.service.ray_app"}
    assert importing  # the rule is about something


def test_nobody_imports_a_library_that_runs_what_it_reads(modules):
    pickles = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    assert {name: found for name, module in modules.items() if (found := module.foreign & pickles)} == {}


def test_a_reject_is_built_at_one_place(structure, modules):
    assert structure.reject_builders(modules) == ["pipeline.rejects.rejects"]


def test_circles_and_imports_that_run_upward_are_found_wherever_the_import_stands(structure, tmp_path):
    sources = {
        "pipeline/errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline import table\n",
        "pipeline/table/__init__.py": "from . import store\n",
        "pipeline/table/store.py": "def read():\n    from pipeline.errors import first_line\n    import ray.data\n",
    }
    for path, source in sources.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    found = structure.modules(tmp_path)
    assert structure.circles(found) == [["pipeline.errors", "pipeline.table", "pipeline.table.store"]]
    assert structure.upward(found) == ["pipeline.errors -> pipeline.table"]
    assert found["pipeline.table.store"].foreign == {"ray"}
