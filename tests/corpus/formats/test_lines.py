from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus import list_sources
from pipeline.corpus.formats.base import UnreadableError
from pipeline.corpus.formats.content import plain_chunks
from pipeline.corpus.formats.lines import in_groups, line_blocks, universal_line_blocks

COMPRESS = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def in_pieces(data, sizes):
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
    yield data[start:]


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\x01", b"\n")), st.lists(st.integers(1, 9), max_size=20))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data, sizes):
    lines = [line for block in line_blocks(p for p in in_pieces(data, sizes) if p) for line in block]
    whole = data.split(b"\n")
    assert [line for line in lines if line] == [line for line in whole if line]
    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


@given(
    st.binary(max_size=60).map(lambda data: data.replace(b"\x01", b"\n").replace(b"\x02", b"\r")),
    st.lists(st.integers(1, 9), max_size=20),
)
def test_universal_lines_do_not_depend_on_how_the_bytes_arrive(data, sizes):
    blocks = universal_line_blocks(p for p in in_pieces(data, sizes) if p)
    assert [line for block in blocks for line in block] == data.splitlines(keepends=True)


def test_a_line_that_is_too_long_is_named_and_not_held():
    chunks = [b"short\nlo", b"n" * 30, b"g" * 30, b"\nnext\n", b"x" * 50]
    assert [line for block in line_blocks(chunks, longest=20) for line in block] == [b"short", None, b"next", None]
    universal = [line for block in universal_line_blocks(chunks, longest=20) for line in block]
    assert universal == [b"short\n", None, b"next\n", None]


@given(st.lists(st.lists(st.integers(), max_size=7), max_size=9), st.integers(1, 5))
def test_groups_hold_everything_in_order(blocks, size):
    groups = list(in_groups(blocks, size))
    assert [item for group in groups for item in group] == [item for block in blocks for item in block]
    assert all(len(group) == size for group in groups[:-1])


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_members_padding_and_emptiness(tmp_path, suffix):
    compress = COMPRESS[suffix]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compress(b"one ") + compress(b"") + compress(b"two"))
    (file,) = list_sources([str(path)])
    assert b"".join(plain_chunks(file, None)) == b"one two"
    path.write_bytes(b"")
    assert b"".join(plain_chunks(file, None)) == b""


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "trailing"])
def test_damage_is_found_and_what_came_before_survives(tmp_path, suffix, damage):
    content = bytes(range(256)) * 2000
    packed = COMPRESS[suffix](content)
    data = {
        "truncated": packed[:-3],
        "overwritten": packed[: len(packed) // 2] + b"\xee" * (len(packed) // 2),
        "trailing": packed + b"rubbish and more of it",
    }[damage]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(data)
    (file,) = list_sources([str(path)])
    seen = []
    with pytest.raises(UnreadableError):
        seen.extend(plain_chunks(file, None))
    if damage == "trailing":
        assert b"".join(seen) == content
