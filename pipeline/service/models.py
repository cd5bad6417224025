"""What is asked over HTTP: the fields of a `Question` but ``where_sql``, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BatchRequest", "SearchRequest"]

_Where = Annotated[
    dict[str, Any] | list[dict[str, Any]] | None,
    Field(description="a condition", examples=[{"year": {"gte": 1990, "lt": 2000}, "lang": ["de", "en"]}]),
]


class _Common(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    table: str | None = Field(None, description="which table; the only one where there is one")
    k: int = Field(10, ge=1, description="how many hits")
    offset: int = Field(0, ge=0, description="how many better hits to leave out")
    alpha: float | None = Field(None, ge=0, description="weight of the routing half; the table's own otherwise")
    where: _Where = None
    mode: Literal["vector", "text", "hybrid"] = "vector"
    min_score: float | None = None
    group_by: str | None = Field(None, description="one hit for each value of this column")
    diversity: float = Field(0.0, ge=0, le=1)
    columns: list[str] | None = None
    at: int | str | None = Field(None, description="a version of the table, or a tag")


class SearchRequest(_Common):
    """One search."""

    query: str | list[float] | None = Field(None, description="words, or a vector in the stored form")
    like: str | list[str] | None = Field(None, description="ids of documents whose neighbours are wanted")
    unlike: str | list[str] | None = Field(None, description="ids of documents to be far from")

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"query": "how are keys exchanged", "k": 5},
                {"query": '"new york" subway', "mode": "hybrid", "where": {"year": {"gte": 1990}}},
                {"like": ["a", "b"], "unlike": "c", "diversity": 0.3},
            ]
        },
    )


class BatchRequest(_Common):
    """Many searches that differ in the query only."""

    queries: list[str] = Field(min_length=1, examples=[["one query", "another"]])
