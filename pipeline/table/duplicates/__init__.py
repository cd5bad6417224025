"""Near-duplicates over a whole table: rows in cells, pairs in each cell, and what they become.

cells        which rows are compared with which: those that are near the same centroids
pairs        all pairs of some vectors that score enough
vectors      blocks of a table's vectors
groups       pairs of vectors → pairs and groups of rows
find         the steps, and what of them a mapper runs
"""
