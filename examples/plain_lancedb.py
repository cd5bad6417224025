"""A table, its rejects and its topics with nothing but lancedb and pandas: readers do not need this package.

    python examples/plain_lancedb.py

The first part makes a table with the package, so that there is something to read. The second part imports lancedb only.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def write() -> None:
    """Embed the package's dictionary passages and two documents without text into ``lake/docs``, and fit topics."""
    from pipeline import embed
    from pipeline.models import reference_texts
    from pipeline.topics import fit_topics

    texts = [*reference_texts()[::8], "   ", None]
    ids = [f"passage-{number}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), "docs.parquet")
    print(embed("docs.parquet", "lake/docs", {"max_tokens": 64}).summary())
    fit_topics("lake/docs")


def read() -> None:
    """Look at what is there, as any other program would."""
    import lancedb

    lake = lancedb.connect("lake")
    documents = lake.open_table("docs")
    print(f"{documents.count_rows()} documents; columns {', '.join(documents.schema.names)}")

    # The neighbours of a document. `maximum_nprobes(0)` matters as soon as there is an index: by default lancedb looks
    # into 20 partitions at most, and a filter may then leave fewer hits than there are.
    first = documents.search().limit(1).to_arrow().to_pylist()[0]
    near = documents.search(first["vector"]).distance_type("cosine").minimum_nprobes(20).maximum_nprobes(0)
    for hit in near.limit(3).to_list():
        print(f"  {1 - hit['_distance']:.3f}  {hit['id']}")

    # Rejects: why a document is not in the table.
    rejects = lake.open_table("docs.rejects").to_pandas()
    print(rejects[["id", "stage", "reason"]].to_string(index=False))

    # Topics: a document's topic is its assignment of the highest version since the last full fit.
    models = lake.open_table("docs.topic_models").to_pandas()
    last = models.sort_values("version").iloc[-1]
    topics = lake.open_table("docs.topics").to_pandas()
    labels = topics[topics.model == last.model].set_index("topic").label
    rows = lake.open_table("docs.topic_assignments").to_pandas()
    rows = rows[rows.model.isin(models.model) & (rows.version >= last.base)]
    current = rows.sort_values("version").drop_duplicates("id", keep="last")
    for topic, size in current.topic.value_counts().items():
        print(f"  topic {topic:2} {size:4} documents  {'(none)' if topic < 0 else labels[topic]}")


if __name__ == "__main__":
    write()
    read()
