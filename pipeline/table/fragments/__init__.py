"""What lies in a table's ``data/``: staged files, deletion files, small files that are joined, orphans."""
