"""What `pipeline.table` asks of Lance and LanceDB beyond their documented API: read this when you upgrade either.

A test that fails here names the assumption that a new release breaks, and the module that stands on it. Then change
the module, or keep the upper bound in pyproject.toml. Everything is plain pylance and lancedb; only `store`, whose
regular expressions match Lance's error texts and which reads its manifest, is asked what it makes of them.
"""

from __future__ import annotations

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lance.commit import CommitConflictError
from lance.file import LanceFileReader, LanceFileSession
from lance.fragment import DeletionFile, FragmentMetadata, write_fragments
from lance.optimize import Compaction

from pipeline.table import TableLocation
from pipeline.table.fragments.deletion_files import next_fragment_id
from pipeline.table.store import open_dataset, short_reason
from pipeline.table.swap import is_conflict

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("text", pa.string())])
KEYED = pa.schema([SCHEMA.field("id").with_metadata({"lance-schema:unenforced-primary-key": "true"}), SCHEMA.field(1)])


def rows(*ids, schema=SCHEMA):
    return pa.table({"id": pa.array(ids, pa.int64()), "text": [f"text {number}" for number in ids]}, schema=schema)


def create(uri, schema=SCHEMA):
    operation = lance.LanceOperation.Overwrite(schema, [])
    return lance.LanceDataset.commit(uri, operation, read_version=0, max_retries=0)


def staged(dataset, *ids):
    """One staged fragment, as it comes back from the journey as JSON."""
    (fragment,) = write_fragments(rows(*ids), dataset, mode="append")
    return FragmentMetadata.from_json(json.dumps(fragment.to_json()))


def present(dataset):
    return [fragment.metadata for fragment in dataset.get_fragments()]


def merge(dataset, fragments, schema=None):
    """The compare-and-swap of `swap.swap`."""
    operation = lance.LanceOperation.Merge(fragments, schema or dataset.lance_schema)
    return lance.LanceDataset.commit(dataset.uri, operation, read_version=dataset.version, max_retries=0)


def mask(dataset, metadata, number, *gone):
    """`metadata` without its rows `gone`, as fragment `number`: a deletion file written by hand."""
    file = DeletionFile(dataset.version, secrets.randbits(63), "array", len(gone), None)
    schema = pa.schema([pa.field("row_id", pa.uint32(), nullable=False)])
    local = Path(dataset.uri) / "mask.arrow"
    with pa.ipc.new_file(local, schema) as writer:
        writer.write_table(pa.table({"row_id": pa.array(gone, pa.uint32())}, schema=schema))
    LanceFileSession(dataset.uri).upload_file(local, file.path(number))
    metadata.deletion_file = file
    return metadata


def replace_all(dataset):
    lance.LanceDataset.commit(
        dataset.uri, lance.LanceOperation.Overwrite(SCHEMA, [staged(dataset, 9)]), read_version=dataset.version
    )


def ids(dataset):
    return lance.dataset(dataset.uri).to_table(columns=["id"]).column("id").to_pylist()


def numbers(dataset):
    return [fragment.fragment_id for fragment in lance.dataset(dataset.uri).get_fragments()]


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "table.lance")


@pytest.fixture
def dataset(uri):
    """Two fragments: rows 1, 2, 3 and rows 4, 5."""
    made = create(uri)
    made = merge(made, [staged(made, 1, 2, 3)])
    return merge(made, [*present(made), staged(made, 4, 5)])


class TestMergeIsCompareAndSwap:
    """`swap.swap`, `swap.fence`."""

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda other: other.insert(rows(9)), id="append"),
            pytest.param(lambda other: other.delete("id = 1"), id="delete"),
            pytest.param(lambda other: other.update({"text": "'new'"}, where="id = 1"), id="update"),
            pytest.param(
                lambda other: other.merge_insert("id").when_matched_update_all().execute(rows(1)), id="merge_insert"
            ),
            pytest.param(lambda other: other.optimize.compact_files(), id="compaction"),
            pytest.param(lambda other: merge(other, [*present(other), staged(other, 9)]), id="merge"),
            pytest.param(lambda other: merge(other, present(other)), id="fence"),
            pytest.param(lambda other: other.add_columns(pa.field("more", pa.int32())), id="columns"),
            pytest.param(replace_all, id="overwrite"),
        ],
    )
    def test_it_conflicts_with_every_change_of_rows(self, dataset, change):
        ours = [*present(dataset), staged(dataset, 6)]
        change(lance.dataset(dataset.uri))
        with pytest.raises(CommitConflictError) as caught:
            merge(dataset, ours)
        assert is_conflict(caught.value)
        assert 6 not in ids(dataset)

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda other: other.create_scalar_index("id", "BTREE"), id="index"),
            pytest.param(lambda other: other.update_config({"key": "value"}), id="configuration"),
            pytest.param(lambda other: other.tags.create("tag", other.version), id="tag"),
        ],
    )
    def test_it_passes_over_what_touches_no_row(self, dataset, change):
        ours = [*present(dataset), staged(dataset, 6)]
        change(lance.dataset(dataset.uri))
        merge(dataset, ours)
        assert ids(dataset) == [1, 2, 3, 4, 5, 6]

    def test_what_was_begun_before_it_conflicts(self, dataset):
        """The fence: an Append retries over other appends, never over a Merge; a compaction in flight fails too."""
        append = lance.LanceOperation.Append([staged(dataset, 6)])
        plan = Compaction.plan(dataset, options={"target_rows_per_fragment": 1000})
        rewritten = [task.execute(dataset) for task in plan.tasks]
        merge(dataset, present(dataset))
        with pytest.raises(CommitConflictError):
            lance.LanceDataset.commit(dataset.uri, append, read_version=dataset.version)
        with pytest.raises(OSError, match="conflict") as caught:
            Compaction.commit(dataset, rewritten)
        assert is_conflict(caught.value)
        assert ids(dataset) == [1, 2, 3, 4, 5]

    def test_it_does_not_look_whether_its_files_exist(self, dataset):
        """Why orphans are collected behind a fence and an epoch only."""
        fragment = staged(dataset, 6)
        (Path(dataset.uri) / "data" / fragment.files[0].path).unlink()
        merge(dataset, [*present(dataset), fragment])
        with pytest.raises((OSError, ValueError), match=r"[Nn]ot found"):
            ids(dataset)
        lance.dataset(dataset.uri, version=dataset.version).restore()
        assert ids(dataset) == [1, 2, 3, 4, 5]

    def test_it_refuses_to_lose_a_fragment(self, dataset):
        """Why rows go by deletion files, also where all rows of a fragment go."""
        with pytest.raises(OSError, match="reduced fragment count"):
            merge(dataset, present(dataset)[:1])

    def test_indexes_stay_with_the_fragments_that_they_cover(self, dataset):
        dataset.create_scalar_index("id", "BTREE")
        dataset = lance.dataset(dataset.uri)
        merged = merge(dataset, [*present(dataset), staged(dataset, 6)])
        (index,) = merged.describe_indices()
        assert (index.num_rows_indexed, list(index.field_names)) == (5, ["id"])
        assert merged.to_table(filter="id >= 5").column("id").to_pylist() == [5, 6]

    def test_the_commit_message_is_kept(self, dataset):
        operation = lance.LanceOperation.Merge(present(dataset), dataset.lance_schema)
        made = lance.LanceDataset.commit(
            dataset.uri, operation, read_version=dataset.version, max_retries=0, commit_message="moee run"
        )
        assert "moee run" in str(made.read_transaction(made.version).transaction_properties)


class TestFragmentNumbers:
    """`fragments.deletion_files`, `known`; `next_fragment_id` reads Lance's own manifest for the rule below."""

    def test_a_row_address_is_the_fragment_and_the_row(self, dataset):
        found = dataset.scanner(columns=[], with_row_address=True).to_table().column("_rowaddr").to_numpy()
        assert found.tolist() == [0, 1, 2, 1 << 32, (1 << 32) + 1]
        again = dataset.scanner(columns=["id"], filter=f"_rowid IN ({found[3]})", with_row_id=True).to_table()
        assert (again.column("id").to_pylist(), again.column("_rowid").to_pylist()) == ([4], [1 << 32])

    def test_staged_fragments_are_numbered_at_the_commit_in_their_order(self, dataset):
        new = [staged(dataset, 6), staged(dataset, 7)]
        assert [fragment.id for fragment in new] == [0, 0]
        merge(dataset, [*present(dataset), *new])
        assert numbers(dataset) == [0, 1, 2, 3]
        assert ids(dataset) == [1, 2, 3, 4, 5, 6, 7]

    def test_a_number_of_ones_own_is_kept(self, dataset):
        fragment = staged(dataset, 6)
        fragment.id = 10
        made = merge(dataset, [*present(dataset), fragment])
        merge(made, [*present(made), staged(made, 7)])
        assert numbers(dataset) == [0, 1, 10, 11]
        assert ids(dataset) == [1, 2, 3, 4, 5, 6, 7]

    def test_the_commit_never_gives_a_number_again_and_the_manifest_tells_which_is_next(self, dataset):
        dataset.delete("id >= 4")
        dataset = lance.dataset(dataset.uri)
        assert next_fragment_id(dataset) == 2
        merge(dataset, [*present(dataset), staged(dataset, 6)])
        assert numbers(dataset) == [0, 2]

    def test_a_number_that_an_index_covers_must_not_be_used_again(self, dataset):
        """Lance takes it, and believes that the new rows are in the index: searches miss them.

        A number of one's own must be above all that were ever used.
        """
        dataset.create_scalar_index("id", "BTREE")
        dataset = lance.dataset(dataset.uri)
        dataset.delete("id >= 4")
        dataset = lance.dataset(dataset.uri)
        covered = {
            number for index in dataset.describe_indices() for part in index.segments for number in part.fragment_ids
        }
        assert covered == {0, 1}
        assert numbers(dataset) == [0]
        fragment = staged(dataset, 6)
        fragment.id = 1
        wrong = merge(dataset, [*present(dataset), fragment])
        assert wrong.to_table(filter="id = 6").num_rows == 0
        assert wrong.scanner(filter="id = 6", use_scalar_index=False).to_table().num_rows == 1

    def test_data_files_have_names_of_their_own(self, dataset):
        names = [staged(dataset, 1).files[0].path for _ in range(50)]
        assert len(set(names)) == 50
        assert set(names) <= set(LanceFileSession(f"{dataset.uri}/data").list())


class TestDeletionFiles:
    """`fragments.deletion_files`: rows go in the same commit in which others come."""

    def test_one_written_by_hand_is_read(self, dataset):
        first, second = present(dataset)
        masked = merge(dataset, [mask(dataset, first, 0, 0, 2), second, staged(dataset, 6)])
        assert ids(dataset) == [2, 4, 5, 6]
        assert masked.stats.dataset_stats()["num_deleted_rows"] == 2
        masked.validate()
        masked.delete("id = 2")
        assert ids(dataset) == [4, 5, 6]

    def test_a_fragment_without_rows_leaves_the_version(self, dataset):
        first, second = present(dataset)
        merge(dataset, [first, mask(dataset, second, 1, 0, 1)])
        assert ids(dataset) == [1, 2, 3]
        assert numbers(dataset) == [0]

    def test_index_entries_of_its_rows_are_masked(self, dataset):
        dataset.create_scalar_index("id", "BTREE")
        dataset.create_scalar_index("text", "INVERTED", with_position=False)
        dataset = lance.dataset(dataset.uri)
        first, second = present(dataset)
        masked = merge(dataset, [mask(dataset, first, 0, 1), mask(dataset, second, 1, 0, 1)])
        assert masked.to_table(filter="id >= 2").column("id").to_pylist() == [3]
        assert sorted(masked.to_table(full_text_query="text").column("id").to_pylist()) == [1, 3]

    def test_a_staged_fragment_comes_with_one(self, dataset):
        """Its name holds the number that the fragment will have, which therefore must be chosen before the commit."""
        fragment = staged(dataset, 6, 7, 8)
        fragment.id = 2
        travelled = FragmentMetadata.from_json(json.dumps(mask(dataset, fragment, 2, 1).to_json()))
        masked = merge(dataset, [*present(dataset), travelled])
        assert ids(dataset) == [1, 2, 3, 4, 5, 6, 8]
        assert masked.count_rows() == 7
        masked.create_scalar_index("id", "BTREE")
        assert lance.dataset(dataset.uri).to_table(filter="id >= 6").column("id").to_pylist() == [6, 8]

    def test_a_staged_fragment_of_masked_rows_only_never_enters_the_version(self, dataset):
        fragment = staged(dataset, 6, 7)
        fragment.id = 2
        merge(dataset, [*present(dataset), mask(dataset, fragment, 2, 0, 1)])
        assert numbers(dataset) == [0, 1]

    def test_compaction_leaves_its_rows_out(self, dataset):
        first, second = present(dataset)
        masked = merge(dataset, [mask(dataset, first, 0, 0), second])
        masked.optimize.compact_files(materialize_deletions_threshold=0.0)
        assert ids(dataset) == [2, 3, 4, 5]
        assert lance.dataset(dataset.uri).stats.dataset_stats()["num_deleted_rows"] == 0


class TestColumns:
    """`fragments.staging.schema_key`: what is staged fits the columns that the table had."""

    def test_a_merge_with_lances_own_schema_keeps_the_fields_numbers(self, dataset):
        dataset.add_columns(pa.field("more", pa.int32()))
        dataset = lance.dataset(dataset.uri)
        dataset.drop_columns(["text"])
        dataset = lance.dataset(dataset.uri)
        before = [field.id() for field in dataset.lance_schema.fields()]
        assert before == [0, 2]
        merged = merge(dataset, present(dataset))
        assert [field.id() for field in merged.lance_schema.fields()] == before
        assert merged.to_table().num_rows == 5

    def test_schema_metadata_survives_a_merge(self, uri):
        made = create(uri, SCHEMA.with_metadata({"moee.spec": "{}"}))
        assert merge(made, [staged(made, 1)]).schema.metadata[b"moee.spec"] == b"{}"

    def test_what_was_staged_under_other_columns_commits_and_cannot_be_read(self, dataset):
        old = staged(dataset, 6)
        dataset.drop_columns(["text"])
        dataset = lance.dataset(dataset.uri)
        dataset.add_columns({"text": "id"})
        dataset = lance.dataset(dataset.uri)
        merged = merge(dataset, [*present(dataset), old])
        with pytest.raises((OSError, ValueError, RuntimeError)):
            merged.to_table()

    def test_a_staged_file_is_read_without_a_commit(self, dataset):
        path = staged(dataset, 6, 7).files[0].path
        reader = LanceFileReader(f"{dataset.uri}/data/{path}", columns=["id"])
        assert reader.read_all().to_table().to_pydict() == {"id": [6, 7]}
        assert ids(dataset) == [1, 2, 3, 4, 5]


class TestCreation:
    """`store.create_dataset`."""

    def test_the_first_creator_wins(self, tmp_path):
        for attempt in range(20):
            uri, barrier = str(tmp_path / f"{attempt}.lance"), threading.Barrier(4)

            def make(number, uri=uri, barrier=barrier):
                barrier.wait()
                try:
                    create(uri, SCHEMA.with_metadata({"by": str(number)}))
                except OSError:
                    return None
                return str(number)

            with ThreadPoolExecutor(4) as pool:
                winners = [number for number in pool.map(make, range(4)) if number]
            dataset = lance.dataset(uri)
            assert [dataset.schema.metadata[b"by"].decode()] == winners
            assert dataset.version == 1

    def test_a_second_creation_is_refused_and_takes_nothing(self, dataset):
        with pytest.raises(OSError, match=r"0\.manifest was not found"):
            create(dataset.uri)
        assert ids(dataset) == [1, 2, 3, 4, 5]


class TestCompanions:
    """`companions.upsert`, `companions.lease`, `companions.rejects`."""

    def test_writers_of_the_same_keys_leave_one_row_a_key(self, uri):
        """Exact only with the unenforced primary key in the schema."""
        create(uri, KEYED)

        def write(_):
            merge = lance.dataset(uri).merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.conflict_retries(50).execute(rows(*range(20), schema=KEYED))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert sorted(ids(lance.dataset(uri))) == list(range(20))

    def test_a_condition_on_the_row_that_is_there(self, dataset):
        merge = dataset.merge_insert("id").when_matched_update_all("NOT (target.text = 'text 1')")
        merge.when_not_matched_insert_all().execute(pa.table({"id": [1, 2, 9], "text": ["new"] * 3}, schema=SCHEMA))
        found = lance.dataset(dataset.uri).to_table(filter="id IN (1, 2, 9)").to_pydict()
        assert dict(zip(found["id"], found["text"], strict=True)) == {1: "text 1", 2: "new", 9: "new"}

    def test_rows_are_deleted_by_key(self, dataset):
        dataset.merge_insert("id").when_matched_delete().execute(rows(2, 4))
        assert sorted(ids(dataset)) == [1, 3, 5]

    def test_a_stale_update_of_a_configuration_key_conflicts(self, dataset):
        """The lease is a compare-and-swap on one key; updates of other keys pass."""
        stale, other = lance.dataset(dataset.uri), lance.dataset(dataset.uri)
        lance.dataset(dataset.uri).update_config({"key": "first"})
        with pytest.raises(OSError, match="Incompatible transaction") as caught:
            stale.update_config({"key": "second"})
        assert is_conflict(caught.value)
        other.update_config({"another": "value"})
        assert lance.dataset(dataset.uri).config() == {"key": "first", "another": "value"}

    def test_rows_that_came_in_between_do_not_disturb_it(self, dataset):
        lance.dataset(dataset.uri).insert(rows(9))
        dataset.update_config({"key": "value"})
        assert lance.dataset(dataset.uri).config() == {"key": "value"}


class TestCompaction:
    """`fragments.compaction`."""

    def test_limits_are_taken_and_rows_keep_their_order(self, dataset):
        done = dataset.optimize.compact_files(
            target_rows_per_fragment=1 << 20,
            num_threads=2,
            batch_size=1024,
            max_source_fragments=1024,
            max_source_bytes=1 << 30,
            materialize_deletions_threshold=0.1,
        )
        assert (done.fragments_removed, done.fragments_added) == (2, 1)
        assert ids(dataset) == [1, 2, 3, 4, 5]

    def test_small_fragments_are_counted(self, dataset):
        assert dataset.stats.dataset_stats(max_rows_per_group=1 << 20)["num_small_files"] == 2
        assert dataset.stats.dataset_stats(max_rows_per_group=3)["num_small_files"] == 1

    def test_one_that_meets_another_is_an_error_that_is_recognised(self, dataset):
        plan = Compaction.plan(dataset, options={"target_rows_per_fragment": 1000})
        done = [task.execute(dataset) for task in plan.tasks]
        lance.dataset(dataset.uri).optimize.compact_files()
        with pytest.raises(OSError, match=r"conflict|exists|Incompatible") as caught:
            Compaction.commit(dataset, done)
        assert is_conflict(caught.value)


class TestCleaning:
    """`fragments.orphans`, `upkeep`."""

    def test_what_no_version_names_is_explained_and_not_removed(self, dataset):
        orphan = staged(dataset, 6).files[0].path
        dataset.delete("id = 1")
        found = dataset.explain_cleanup_old_versions(
            older_than=timedelta(days=36_500), delete_unverified=True, include_files=True, max_files=1_000_000
        )
        names = {file.path.rpartition("/data/")[2] for file in found.candidate_files if file.kind == "data"}
        assert names == {orphan}
        assert orphan in LanceFileSession(f"{dataset.uri}/data").list()

    def test_old_versions_go_and_what_is_staged_or_tagged_stays(self, dataset):
        waiting = staged(dataset, 6)
        dataset.tags.create("kept", 2)
        gone = dataset.cleanup_old_versions(older_than=timedelta(0), error_if_tagged_old_versions=False)
        assert (gone.old_versions, gone.bytes_removed > 0) == (1, True)
        assert lance.dataset(dataset.uri, version="kept").count_rows() == 3
        merge(dataset, [*present(dataset), waiting])
        assert ids(dataset) == [1, 2, 3, 4, 5, 6]

    def test_files_are_listed_and_deleted_by_name(self, dataset):
        session, name = LanceFileSession(f"{dataset.uri}/data"), staged(dataset, 6).files[0].path
        session.delete_file(name)
        assert name not in session.list()


class TestErrors:
    """`store`: the texts that its regular expressions match."""

    def test_a_table_that_is_not_there(self, tmp_path):
        assert open_dataset(TableLocation.parse(tmp_path / "none")) is None

    def test_one_that_is_damaged_is_not_taken_for_absent(self, dataset, tmp_path):
        for manifest in (Path(dataset.uri) / "_versions").iterdir():
            manifest.write_bytes(b"damaged")
        with pytest.raises(Exception, match="cannot open") as caught:
            open_dataset(TableLocation.parse(tmp_path / "table"))
        assert ".rs:" not in str(caught.value)

    def test_no_credentials(self, monkeypatch, tmp_path):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises((OSError, ValueError)) as caught:
            lance.dataset("s3://bucket/table.lance", storage_options={"aws_region": "us-east-1"})
        assert short_reason(caught.value).startswith("no AWS credentials on ")

    def test_a_place_in_lances_own_source_is_cut_off(self, dataset):
        with pytest.raises((OSError, ValueError)) as caught:
            merge(dataset, present(dataset)[:1])
        assert ".rs:" in str(caught.value)
        assert ".rs" not in short_reason(caught.value)


class TestReading:
    """`known`, `query`: scans of chosen fragments, and what LanceDB makes of what pylance wrote."""

    def test_a_scan_keeps_to_the_fragments_that_it_is_given(self, dataset):
        second = dataset.get_fragments()[1:]
        found = dataset.scanner(columns=["id"], fragments=second, filter=pc.field("id") > 4).to_table()
        assert found.column("id").to_pylist() == [5]

    def test_a_scan_computes_columns(self, dataset):
        found = dataset.to_table(columns={"name": "text", "one": "id = 1 OR text LIKE 'text 5%'"})
        assert found.column("one").to_pylist() == [True, False, False, False, True]

    def test_a_handle_stays_on_its_version(self, dataset):
        dataset_again = lance.dataset(dataset.uri)
        dataset_again.insert(rows(9))
        assert dataset.count_rows() == 5
        dataset.checkout_latest()
        assert dataset.count_rows() == 6

    def test_lancedb_opens_what_pylance_wrote_and_follows_it(self, dataset, tmp_path):
        """With an interval of zero; without one its handle stays on the version that it opened."""
        table = lancedb.connect(str(tmp_path), read_consistency_interval=timedelta(0)).open_table("table")
        merge(dataset, [*present(dataset), staged(dataset, 6)])
        assert table.count_rows() == 6

    def test_lancedb_lists_tables_page_by_page(self, tmp_path):
        names = [f"table{number:02}" for number in range(25)]
        for name in names:
            create(str(tmp_path / f"{name}.lance"))
        connection, listed, token = lancedb.connect(str(tmp_path)), [], None
        while True:
            page = connection.list_tables(page_token=token, limit=10)
            listed += page.tables
            token = page.page_token
            if not token:
                break
        assert sorted(listed) == names

    def test_indexes_are_described_and_unindexed_rows_are_found(self, uri):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.random.default_rng(0).random(300 * 8, np.float32)), 8)
        dataset = lance.write_dataset(pa.table({"vector": vectors.cast(pa.list_(pa.float16(), 8))}), uri)
        dataset.create_index("vector", "IVF_RQ", metric="cosine", num_bits=5)
        dataset = lance.dataset(uri)
        dataset.insert(dataset.to_table(limit=3))
        (index,) = dataset.describe_indices()
        assert (index.num_rows_indexed, list(index.field_names)) == (300, ["vector"])
        assert dataset.stats.index_stats(index.name)["index_type"] == "IVF_RQ"
        dataset.optimize.optimize_indices()
        assert lance.dataset(uri).describe_indices()[0].num_rows_indexed == 303


def test_expressions_work_beside_columns_of_every_type(load):
    """Lance serializes the whole schema with an expression; `pipeline.table.store` says which types cannot be."""
    every_type = load("every_type.py")
    columns = {name: column for name, column in every_type.columns().items()
               if column.type not in every_type.UNSTORABLE and "run_end" not in name}  # fmt: skip
    columns["nested"] = pa.array(
        [[{"a": [1]}], None, []], pa.list_(pa.struct([("a", pa.large_list(pa.duration("s")))]))
    )
    dataset = lance.write_dataset(pa.table({**columns, "id": ["a", "b", "c"], "n": [1, 2, 3]}), "memory://")
    asked = pc.field("id").isin(["a", "c"]) & (pc.field("n") > 1)
    assert dataset.to_table(columns=["n"], filter=asked).column("n").to_pylist() == [3]
    assert dataset.count_rows(filter=asked) == 1
    dataset.delete(asked)
    assert dataset.count_rows() == 2
