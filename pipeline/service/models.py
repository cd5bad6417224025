"""What is asked over HTTP: the fields of a `Question` but ``where_sql``, and a topic, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UsageError
from pipeline.table.query.question import Mode  # noqa: TC001 — pydantic asks for it

__all__ = ["MAX_BATCH_HITS", "BatchRequest", "SearchRequest"]

MAX_BATCH_HITS: Final = 10_000
"""Of all queries of a batch together, those before `offset` included: as JSON they take a second."""

_Alpha = Annotated[float, Field(ge=0)]
_Where = Annotated[
    dict[str, Any] | list[dict[str, Any]] | None,
    Field(description="a condition", examples=[{"year": {"gte": 1990, "lt": 2000}, "lang": ["de", "en"]}]),
]


class _Common(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    table: str | None = Field(None, description="which table; the only one where there is one")
    k: int = Field(10, ge=1, description="how many hits")
    offset: int = Field(0, ge=0, description="how many better hits to leave out")
    where: _Where = None
    topic: int | None = Field(None, ge=0, description="hits of this topic only, one of the newest model")
    mode: Mode = Field("vector", description="by meaning, by words, or by both")
    min_score: float | None = Field(None, description="the lowest ``_score`` of a hit")
    group_by: str | None = Field(None, description="one hit for each value of this column")
    diversity: float = Field(0.0, ge=0, le=1, description="how much hits must differ from each other")
    columns: list[str] | None = Field(None, description="which columns of the hits; all but the vector otherwise")
    at: int | str | None = Field(None, description="a version of the table, or a tag")


class SearchRequest(_Common):
    """One search."""

    query: str | list[float] | None = Field(None, description="words, or a vector in the stored form")
    alpha: _Alpha | None = Field(None, description="weight of the routing half; the table's own otherwise")
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
    """Many searches that differ in query and alpha only."""

    queries: list[str | list[float]] = Field(min_length=1, examples=[["one query", "another"]])
    alpha: _Alpha | list[_Alpha | None] | None = Field(None, description="one for all queries, or one for each")

    def single(self) -> list[SearchRequest]:
        """Each of them.

        Raises:
            UsageError: there are more or fewer values of alpha than queries.
        """
        alphas = self.alpha if isinstance(self.alpha, list) else [self.alpha] * len(self.queries)
        if len(alphas) != len(self.queries):
            raise UsageError(f"{len(self.queries)} queries, but {len(alphas)} values of alpha")
        common = self.model_dump(exclude={"queries", "alpha"})
        pairs = zip(self.queries, alphas, strict=True)
        return [SearchRequest.model_construct(query=query, alpha=alpha, **common) for query, alpha in pairs]
