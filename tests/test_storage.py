"""The errors of a storage: whatever class a client raises, the caller sees one of ours."""

from __future__ import annotations

import pytest

from pipeline.errors import SourceError, TableError, UsageError, first_line
from pipeline.storage import fsspec_errors, open_binary


def test_an_error_of_a_storage_client_becomes_one_of_ours_that_says_where_and_what():
    told = pytest.raises(SourceError, match=r"^s3://b/a: cannot be read: KeyError: 'lost'$")
    with told as caught, fsspec_errors("s3://b/a: cannot be read"):
        raise KeyError("lost")
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_that_is_already_the_wanted_one_passes_as_it_is():
    told = SourceError("told before")
    with pytest.raises(SourceError) as caught, fsspec_errors("s3://b/a: cannot be read"):
        raise told
    assert caught.value is told


def test_an_error_of_another_class_of_ours_is_told_without_its_class():
    told = pytest.raises(TableError, match=r"^cannot write t: a wrong option$")
    with told, fsspec_errors("cannot write t", TableError):
        raise UsageError("a wrong option")


def test_a_file_that_is_missing_names_itself(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.txt: cannot be opened: FileNotFoundError"):
        open_binary(str(tmp_path / "gone.txt"), None)


@pytest.mark.parametrize(("said", "line"), [("\n one \ntwo", "one "), ("", "ValueError"), ("\n\n", "ValueError")])
def test_the_first_line_of_an_error_is_never_empty(said, line):
    assert first_line(ValueError(said)) == line
