"""The line of a table's topic versions, stored beside it: written, made visible all at once, loaded."""
