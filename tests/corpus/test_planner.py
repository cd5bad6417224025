from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus import FileRecord, ReaderOptions, SourceFile, Taper, WorkUnit, plan, slice_id
from pipeline.corpus.formats.base import Extent, UnreadableError

counts = st.none() | st.lists(
    st.builds(Extent, st.integers(0, 40), st.integers(0, 400), st.booleans()), max_size=4
).map(tuple)
corpora = st.lists(counts, max_size=8)


def corpus(counts):
    """Files, and a function that counts them."""
    files = [SourceFile(f"file:///{index:03}", "parquet", None, 30, "v1") for index in range(len(counts))]
    return files, dict(zip(files, counts, strict=True)).__getitem__


def all_slices(units):
    return [(part.file.uri, each) for unit in units for part in unit.parts for each in part.slices or ()]


@given(corpora, st.integers(1, 16), st.integers(1, 40), st.integers(1, 300))
def test_every_row_is_in_exactly_one_slice(counts, slice_rows, max_rows, max_bytes):
    files, count = corpus(counts)
    options = ReaderOptions("text", slice_rows=slice_rows)
    units = list(plan(files, options, max_rows=max_rows, max_bytes=max_bytes, count=count))
    planned = all_slices(units)
    for file, extents in zip(files, counts, strict=True):
        rows = [row for uri, each in planned if uri == file.uri for row in range(each.start, each.stop)]
        assert rows == list(range(sum(extent.rows for extent in extents or ())))
    streams = [part.file for unit in units for part in unit.parts if part.slices is None]
    assert streams == [file for file, extents in zip(files, counts, strict=True) if extents is None]
    assert len({each.id for _, each in planned}) == len(planned)
    assert all(each.start % slice_rows == 0 for _, each in planned)


@given(corpora, st.integers(1, 16), st.integers(1, 40))
def test_the_bound_on_rows_is_kept_and_an_over_large_slice_is_alone(counts, slice_rows, max_rows):
    files, count = corpus(counts)
    for unit in plan(files, ReaderOptions("text", slice_rows=slice_rows), max_rows=max_rows, count=count):
        streams = sum(part.slices is None for part in unit.parts)
        assert unit.rows + streams <= max_rows or len(unit.slices) + streams == 1


@given(corpora, st.integers(1, 4), st.integers(1, 40), st.integers(1, 8), st.integers(1, 20))
def test_units_get_smaller_toward_the_end(counts, slice_rows, max_rows, shares, least):
    files, count = corpus(counts)
    options = ReaderOptions("text", slice_rows=slice_rows)
    whole = list(plan(files, options, max_rows=max_rows, count=count))
    rows = sum(unit.rows for unit in whole)
    units = list(plan(files, options, max_rows=max_rows, taper=Taper(rows, shares, least), count=count))
    assert all_slices(units) == all_slices(whole)
    left = rows
    for unit in units:
        streams = sum(part.slices is None for part in unit.parts)
        assert unit.rows + streams <= min(max_rows, max(left // shares, least)) or len(unit.slices) + streams == 1
        left -= unit.rows


@given(st.lists(st.integers(0, 500), max_size=30), st.integers(1, 300))
def test_the_bound_on_bytes_is_kept(sizes, max_bytes):
    files, count = corpus([(Extent(1, size),) for size in sizes])
    options = ReaderOptions("text")
    bytes_of = {file.uri: size for file, size in zip(files, sizes, strict=True)}
    totals = [
        [bytes_of[part.file.uri] for part in unit.parts]
        for unit in plan(files, options, max_bytes=max_bytes, count=count)
    ]
    assert all(sum(total) <= max_bytes or len(total) == 1 for total in totals)
    assert all(sum(a) + b[0] > max_bytes for a, b in pairwise(totals))


@given(corpora, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_files(counts, random):
    files, count = corpus(counts)
    shuffled = [*files, *files]
    random.shuffle(shuffled)
    options = ReaderOptions("text", slice_rows=4)
    assert list(plan(shuffled, options, count=count)) == list(plan(files, options, count=count))


@given(corpora, st.data())
def test_what_is_done_is_not_planned_again_and_the_rest_keeps_its_ids(counts, data):
    files, count = corpus(counts)
    options = ReaderOptions("text", slice_rows=4)
    slices = [each for _, each in all_slices(plan(files, options, count=count))]
    done = set(data.draw(st.lists(st.sampled_from([each.id for each in slices]), unique=True))) if slices else set()
    left = [each for each in slices if each.id not in done]
    for given_as in (done, frozenset(done), np.array(list(done), np.int64)):
        assert [each for _, each in all_slices(plan(files, options, done=given_as, count=count))] == left


@given(corpora)
def test_units_survive_json(counts):
    files, count = corpus(counts)
    for unit in plan(files, ReaderOptions("text", slice_rows=4), count=count):
        assert WorkUnit.from_json(unit.to_json()) == unit


def test_the_record_of_a_file_counts_its_slices_and_rows():
    files, _ = corpus([None])
    (unit,) = plan(files, ReaderOptions("text"), count=lambda _: (Extent(3, 1),))
    assert unit.parts[0].record(ReaderOptions(slice_rows=2)) == FileRecord(files[0].uri, "v1", 2, 3)


def test_a_damaged_file_is_planned_for_its_reader_to_reject():
    files, _ = corpus([None])

    def count(file):
        raise UnreadableError("no magic")

    (unit,) = plan(files, ReaderOptions("text"), count=count)
    assert unit.parts[0].slices is None


def test_a_large_row_group_is_decoded_at_most_some_sixteen_times():
    files, count = corpus([(Extent(1_000_000, 1 << 30, sequential=True), Extent(5000, 1 << 20, sequential=True))])
    units = list(plan(files, ReaderOptions("text"), count=count))
    assert 16 <= len(units) <= 16 + 1 + 3
    assert sum(unit.rows for unit in units) == 1_005_000


def test_a_slice_id_hashes_file_version_range_and_reader_options():
    options = ReaderOptions("text", "id", ("a",), 1024)
    same = ("file:///a", "v", 0, 1024, options)
    others = [
        ("file:///b", "v", 0, 1024, options),
        ("file:///a", "w", 0, 1024, options),
        ("file:///a", "v", 1024, 2048, options),
        ("file:///a", "v", 0, 1024, ReaderOptions("body", "id", ("a",), 1024)),
        ("file:///a", "v", 0, 1024, ReaderOptions("text", None, ("a",), 1024)),
        ("file:///a", "v", 0, 1024, ReaderOptions("text", "id", (), 1024)),
    ]
    ids = [slice_id(*each) for each in (same, *others)]
    assert len(set(ids)) == len(ids)
    assert all(-(2**63) <= each < 2**63 for each in ids)


def test_slice_ids_are_the_same_for_ever():
    assert slice_id("file:///a", "v", 0, 1024, ReaderOptions("text", "id", ("a",))) == -7138638279471388066
