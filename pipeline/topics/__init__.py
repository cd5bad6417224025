"""Topics of a table: fitted, named, stored beside it, and kept the same from one fit to the next.

    documents → recipe (who belongs together) → geometry (where that is) → identity (which topic of the last model)
              → assign (every document, in parts) → counts, words (what it is called) → writing (four tables) → load

Ray does not enter here, nor does pickle.
"""

from __future__ import annotations

from pipeline.topics.fit import fit_topics
from pipeline.topics.load import Example, Topics, TopicView, load_topics
from pipeline.topics.store import TopicModel

__all__ = ["Example", "TopicModel", "TopicView", "Topics", "fit_topics", "load_topics"]
