"""``moee topics map``: all documents on one page, near their kin, in the colours of their topics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, storage_options, table_arguments
from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    from pipeline.topics.views import TopicMap

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee topics map``."""
    table_arguments(parser)
    parser.add_argument("--output", type=Path, metavar="FILE.html", help="the page (NAME.topics.html)")
    parser.add_argument("--png", type=Path, metavar="FILE.png", help="the picture (beside the page)")
    parser.add_argument("--no-png", action="store_true", help="write the page only")
    parser.add_argument("--points", type=int, default=50_000, metavar="N", help="show at most N documents (50,000)")
    parser.add_argument("--version", type=int, metavar="N", help="of the topics (the latest)")
    parser.add_argument("--seed", type=int, default=0, help="of the layout")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Draw, and write page and picture."""
    from pipeline.topics import load_topics
    from pipeline.topics.views import draw_map, map_page

    topics = load_topics(arguments.table, arguments.version, storage_options=storage_options(arguments))
    page: Path = arguments.output or Path(f"{topics.tables.location.name}.topics.html")
    for target in (page, arguments.png):
        _check_target(target)
    wanted: Path = arguments.png or page.with_suffix(".png")
    if not arguments.no_png and wanted.resolve() == page.resolve():
        raise UsageError(f"{page}: page and picture need different names")
    with output.following("drawing the map"):
        drawn = draw_map(topics, arguments.points, arguments.seed)
        _write(page, map_page(drawn))
        picture = None if arguments.no_png else _picture(drawn, arguments.png, page, output)
    shown, documents, size = len(drawn.points), drawn.documents, page.stat().st_size / 1e6
    output.people.print(
        f"{page}: {shown:,} of {counted(documents, 'document')}, {counted(len(drawn.topics), 'topic')}, {size:.1f} MB",
        markup=False,
    )
    if picture is not None:
        output.people.print(str(picture), markup=False)
    output.result(
        {
            "page": str(page),
            "picture": None if picture is None else str(picture),
            "version": drawn.version,
            "points": shown,
            "documents": documents,
            "topics": [
                {"topic": topic.topic, "label": topic.label, "shown": topic.shown, "x": topic.x, "y": topic.y}
                for topic in drawn.topics
            ],
        }
    )


def _check_target(target: Path | None) -> None:
    """Before minutes are spent on what goes there."""
    if target is not None and (target.is_dir() or not target.parent.is_dir()):
        raise UsageError(f"{target}: name a file in a directory that is there")


def _write(page: Path, content: str) -> None:
    try:
        page.write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{page} cannot be written: {error.strerror}") from error


def _picture(drawn: TopicMap, wanted: Path | None, page: Path, output: Output) -> Path | None:
    """Where the picture was written; None without matplotlib, unless the picture was asked for by name."""
    from pipeline.topics.views.picture import can_draw, save_picture

    if wanted is None and not can_draw():
        output.progress.print("no picture without matplotlib: pip install 'moee-pipeline[viz]'", markup=False)
        return None
    target = wanted or page.with_suffix(".png")
    save_picture(drawn, target)
    return target


COMMAND: Final = Command(
    name="map",
    help="Draw the documents as a map of topics: one HTML file with labels, search and texts that needs no network, "
    "and a picture.",
    configure=configure,
    run=run,
    examples=("moee topics map lake/docs", "moee topics map lake/docs --output map.html --points 100000"),
)
