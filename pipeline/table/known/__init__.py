"""What the table already has, read once and kept up to date: finished slices, ids, texts. Nothing here writes."""
