"""How many records delimited text holds, by the rule alone: read character by character, without the reader's code."""

from __future__ import annotations

import re

INSIDE = {"double": r'(?:[^"]|"")*+', "backslash": r'(?:[^"\\]|\\[^\r\n]|\\(?=[\r\n]|\Z)|"")*+'}


def count_records(text, delimiter=",", quoting="double", *, skips_spaces=False):
    """Lines, less blank ones and the line breaks inside proper quotes: closed before a delimiter or a line end."""
    mark = re.escape(delimiter)
    spaces = " *" if skips_spaces else ""
    quoted = None if quoting == "none" else re.compile(rf'{spaces}"({INSIDE[quoting]})"(?={mark}|[\r\n]|\Z)')
    line_end = re.compile(r"\r\n|\r|\n")
    records = at = begun = 0
    opens = True
    while at < len(text):
        if opens and quoted and (cell := quoted.match(text, at)):
            at, opens, begun = cell.end(), False, 1
        elif end := line_end.match(text, at):
            records += begun
            at, opens, begun = end.end(), True, 0
        else:
            opens, begun = text[at] == delimiter, 1
            at += 1
    return records + begun
