"""From staged rows to a version of the table: collected, judged, swapped in. `committer` draws the protocol."""
