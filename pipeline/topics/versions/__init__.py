"""The versions of a table's topics: written beside the table, made visible all at once, loaded."""
