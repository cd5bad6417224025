"""From a question to hits: the request, the search, and the indexes that make it fast."""
