"""Vectors inside a Ray Data pipeline of one's own: `embed_dataset` is one step, whatever comes before and after it.

    python examples/ray_pipeline.py

Reads Parquet, drops drafts, adds vectors, and writes Parquet with the vectors in it. No table is made, so nothing
resumes: for exactly-once storage use `moee embed`.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from pipeline import EmbeddingSpec, embed_dataset

NOTES = {
    "title": ["orbits", "bread", "keys", "nothing", "planets", "draft"],
    "body": [
        "A satellite falls around the Earth and never reaches the ground.",
        "Knead the dough for ten minutes and let it rise in a warm place.",
        "Two parties agree on a secret key over a channel that anybody may read.",
        "   ",
        "Eight planets go around the sun, the outer ones slowly.",
        "to be written",
    ],
    "is_draft": [False, False, False, False, False, True],
}


def main() -> None:
    """Run the pipeline on six notes."""
    pq.write_table(pa.table(NOTES), "notes.parquet")
    ray.init(address="local", include_dashboard=False, log_to_driver=False)

    notes = ray.data.read_parquet("notes.parquet")
    finished = notes.filter(expr=~ray.data.expressions.col("is_draft"))
    embedded = embed_dataset(finished, EmbeddingSpec(model="mini"), text="body")
    embedded.write_parquet("embedded")

    # A text without a vector keeps its row: `reject` says why, and the vector is null.
    rows = pq.read_table("embedded", columns=["title", "vector", "n_tokens", "reject"]).sort_by("title")
    for row in rows.to_pylist():
        made = row["reject"] or f"{len(row['vector'])} dimensions from {row['n_tokens']} tokens"
        print(f"{row['title']:8} {made}")
    ray.shutdown()


if __name__ == "__main__":
    main()
