"""What a table and its companions hold, as one value that is equal where nothing that matters differs.

Names that Lance draws at random are replaced by the step that made the file. Vectors are left out.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

import lance
import pyarrow as pa


class OutsideError(AssertionError):
    """Something was written that no step wrote."""


def digest(*parts):
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()


class Store:
    """The directory of a table.

    Args:
        folder: the directory.
        name: of the table.
        on_table: told the rows of each new version of the table itself.
        path: tells the path so far; the same path leads to the same state.
        known: what paths before this one have led to.
    """

    def __init__(self, folder, name, on_table, path, known):
        self.folder, self._table, self._on_table = Path(folder), f"{name}.lance", on_table
        self._path, self._known = path, known
        self._files, self._labels, self.prints = {}, {}, {}
        self.written("0")

    def unchanged(self, driver):
        """Make sure that nothing was written since the last step."""
        found = self.listed()
        if found != self._files:
            raise OutsideError(f"{driver} wrote outside a step: {sorted(found.items() ^ self._files.items())}")

    def written(self, label):
        """Take in what a step has written."""
        found = self.listed()
        changed = {path.split("/")[0] for path, _ in found.items() ^ self._files.items()}
        for path in found.keys() - self._files.keys():
            if "/data/" in path:
                self._labels[path.rpartition("/")[2]] = label
        self._files = found
        for dataset in sorted(changed):
            key = (*self._path(), label, dataset)
            if key not in self._known:
                self._known[key] = self._print(dataset)
            self.prints[dataset] = self._known[key]

    def shown(self, kind, arguments):
        """What a call sees: the dataset that its arguments name; a look that names none sees all there is."""
        place = next((text for text in map(_uri, arguments[:2]) if text.startswith(str(self.folder))), "")
        if place:
            return self.prints.get(place[len(str(self.folder)) + 1 :].split("/")[0], "nothing")
        return self.print if kind == "look" else ""

    @property
    def print(self):
        """The state of the whole store."""
        return digest(sorted(self.prints.items()))

    def listed(self):
        """All files: path → bytes."""
        found, folders = {}, [str(self.folder)]
        start = len(folders[0]) + 1
        while folders:
            for entry in os.scandir(folders.pop()):
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    found[entry.path[start:]] = entry.stat().st_size
        return found

    def _print(self, name):
        staged = sorted(
            self._labels[path.rpartition("/")[2]] for path in self._files if path.startswith(f"{name}/data/")
        )
        try:
            dataset = lance.dataset(str(self.folder / name))
        except ValueError:  # staged only, or gone
            return digest(staged)
        columns = [field.name for field in dataset.schema if not pa.types.is_fixed_size_list(field.type)]
        if name != self._table:  # read by value: neither the order of rows nor how often it was written matters
            rows = dataset.to_table(columns=columns).to_pylist() if columns else []
            return digest(sorted(dataset.config().items()), sorted(repr(self._named(row)) for row in rows))
        rows = dataset.to_table(columns=columns, with_row_address=True).to_pylist()
        self._on_table(rows)
        files = [(part.fragment_id, [self._label(file.path) for file in part.data_files()])
                 for part in dataset.get_fragments()]  # fmt: skip
        return digest(dataset.version, sorted(dataset.config().items()), files, staged, rows)

    def _named(self, row):
        if "fragments" in row:
            paths = [name for text in row["fragments"] for name in self._labels if name in text]
            row["fragments"] = sorted(self._label(path) for path in paths)
        return row

    def _label(self, path):
        return self._labels.get(path.rpartition("/")[2], path)


def _uri(value):
    return value if isinstance(value, str) else str(getattr(value, "uri", ""))
