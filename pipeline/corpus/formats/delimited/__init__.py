"""Delimited text, CSV and TSV: dialect → (sniffing) → records → reader."""
