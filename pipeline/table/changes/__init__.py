"""What makes rows go, or come again: changed and missing files, duplicates, deletion for good, retries."""
