"""Lines → records: what is quoted, what only looks so, and that every line is accounted for."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.dialect import Dialect
from pipeline.corpus.formats.base import BadRow, UnreadableError
from pipeline.corpus.formats.delimited.records import read_records

COMMAS = Dialect(",", "double")


def records(data, dialect=COMMAS, size=1 << 20):
    lines = data.splitlines(keepends=True)
    return list(read_records((lines[at : at + size] for at in range(0, len(lines), size)), dialect))


def cells(data, dialect=COMMAS):
    return [record.cells for record in records(data, dialect)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'1,"a ""b"", c"\n', [["1", 'a "b", c']]),
        (b'1,"two\r\nlines"\r\n', [["1", "two\r\nlines"]]),
        (b'1,"never closed\n2,x\n', [["1", '"never closed'], ["2", "x"]]),
        (b'1,"Ready" was it\n', [["1", '"Ready" was it']]),
        (b'1,"Ready" was it,"a,b"\n', [["1", '"Ready" was it', "a,b"]]),
        (b'1,"a\n2,"b\n3,c"\n', [["1", '"a'], ["2", "b\n3,c"]]),
        (b'1,"",""""\n', [["1", "", '"']]),
        (b'1,5" long,\n', [["1", '5" long', ""]]),
        (b'"a\n\nb",c\n', [["a\n\nb", "c"]]),
        (b"a\rb\r\nc\n\n", [["a"], ["b"], ["c"]]),
        (b'a,"\n",b\n', [["a", "\n", "b"]]),
        (b'"unfinished', [['"unfinished']]),
        (b'"a"\xff,b\n', [['"a"\udcff', "b"]]),
        (b"a\0b,c\n", [["a\0b", "c"]]),
    ],
)
def test_a_quotation_mark_opens_a_cell_only_if_another_one_closes_it(line, expected):
    assert cells(line) == expected


def test_other_dialects():
    assert cells(b'1\t"a\n2\tb"\n', Dialect("\t", "none")) == [["1", '"a'], ["2", 'b"']]
    assert cells(b'1,"a \\"b\\", c\\\\",d\\e\n', Dialect(",", "backslash")) == [["1", 'a "b", c\\', "d\\e"]]
    assert cells(b'1, "a, b",  c\n', Dialect(",", "double", skips_spaces=True)) == [["1", "a, b", "c"]]
    assert cells(b'1|"a|b"\n', Dialect("|", "double")) == [["1", "a|b"]]


def test_records_say_on_which_line_they_begin():
    assert [record.line for record in records(b'a\n"b\n\nc"\n\nd\n"e\nf\n')] == [1, 2, 6, 7, 8]


def test_where_the_file_breaks_off_a_cell_that_is_open_is_no_document():
    def broken():
        yield [b"1,a\n", b'2,"half of a\n', b"text\n"]
        raise UnreadableError("cut")

    found = []
    with pytest.raises(UnreadableError):
        found.extend(record for record in read_records(broken(), COMMAS) if found.append(record))
    assert found[0].cells == ["1", "a"]
    assert isinstance(found[1], BadRow)
    assert len(found) == 2


CELLS = st.text(st.sampled_from('ab,;"\\ \n\r\té'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_what_the_standard_library_writes_is_read_as_it_was(rows, delimiter):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    assert cells(out.getvalue().encode(), Dialect(delimiter, "double")) == rows


@given(
    st.lists(st.sampled_from(b'"",\n\r\\a; '), max_size=60).map(bytes),
    st.sampled_from(["double", "backslash", "none"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_every_line_is_a_record_a_part_of_a_proper_cell_or_blank(load, data, quoting, skips_spaces, size):
    count = load("corpus/accounting.py").count_records
    dialect = Dialect(",", quoting, skips_spaces)
    expected = count(data.decode(), ",", quoting, skips_spaces=skips_spaces)
    assert len(records(data, dialect, size)) == expected
