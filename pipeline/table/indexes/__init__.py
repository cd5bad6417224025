"""Indexes of a table: which a column gets, which are there, how they are built, kept up to date, and checked.

Search works without them: rows that no index covers are compared one by one.
"""
