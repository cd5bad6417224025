"""Indexes of a table: which a column gets, which are there, how they are built and kept up to date.

Search works without them: rows that no index covers are compared one by one.
"""
