"""`bloomweaver search`: the chunks that fit best, with where they stand."""

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

if TYPE_CHECKING:
    from rich import text

    from bloomweaver.cli import client

SNIPPET_CHARACTERS: Final = 320
BEFORE_FIRST_WORD: Final = 80

_OPERATORS: Final = {"!=": "$ne", ">=": "$gte", "<=": "$lte", ">": "$gt", "<": "$lt", "=": "$eq"}
_CLAUSE: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.-]{0,63})\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", re.DOTALL)
_LEADING_HEADINGS: Final = re.compile(r"\A(?:\s*#{1,6} [^\n]*\n)+(?=\s*\S)")


Query = Annotated[list[str], typer.Argument(metavar="QUERY", help="What to look for.", show_default=False)]
Collections = Annotated[
    list[str] | None,
    typer.Option("--collection", "-c", metavar="NAME", help="Only this collection; can be repeated."),
]
Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="FILTER", help="team=hr, year>=2025, or JSON; all must hold."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=100, help="How many hits.")]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score", metavar="SCORE", min=-1.0, max=1.0, help="Leave out hits below it.", show_default=False
    ),
]
ByDocument = Annotated[bool, typer.Option("--by-document", help="Only the best chunk of each document.")]


def search(
    context: typer.Context,
    *,
    query: Query,
    collections: Collections = None,
    filters: Filters = None,
    limit: Limit = 10,
    min_score: MinScore = None,
    by_document: ByDocument = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Print the chunks that fit best.

    Each with score, document, headings, place in the text, and the text around the query's words.
    """
    body: dict[str, object] = {"query": " ".join(query), "limit": limit, "group_by_document": by_document}
    if collections:
        body["collections"] = collections
    if filters:
        body["filter"] = filter_of(filters)
    if min_score is not None:
        body["min_score"] = min_score
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            await print_hits(api, body, display=display)

    surroundings.run(work())


async def print_hits(api: "client.Api", body: dict[str, object], *, display: screen.Screen) -> list[dict[str, Any]]:
    """Search and print; gives the hits."""
    answer = await api.post("/v1/search", body)
    hits: list[dict[str, Any]] = answer["hits"]
    display.json(answer)
    if display.as_json:
        return hits
    query = str(body["query"])
    for number, hit in enumerate(hits, 1):
        display.show(*hit_lines(number, hit, query=query), "")
    if not hits:
        display.show("Nothing found. `bloomweaver status` says what can be searched.")
    display.note(summary(answer, len(hits)))
    return hits


def summary(answer: dict[str, Any], hits: int) -> str:
    """The last line, on stderr."""
    models = ", ".join(wording.one_line(model) for model in answer.get("models", []))
    more = "; there may be more" if answer.get("truncated") else ""
    by = f" · {models}" if models else ""
    return f"{wording.count(hits, 'hit')} in {answer.get('took_seconds', 0.0) * 1000:.0f} ms{by}{more}"


def hit_lines(number: int, hit: dict[str, Any], *, query: str) -> "Iterable[text.Text]":
    """A hit: the line of its document, the line of its place, the snippet."""
    from rich import text

    chunk = hit["chunk"]
    title = wording.one_line(hit.get("title") or "")
    head = text.Text(f"{number:>2}  {hit['score']:.4f}  ", style="dim")
    head.append(wording.one_line(f"{hit['collection']}/{hit['document_id']}"), style="bold")
    if title:
        head.append(f"  {title}")
    yield head
    path = " › ".join(wording.one_line(part) for part in chunk.get("heading") or [])
    place = f"characters {chunk['start']:,}-{chunk['end']:,}"
    yield text.Text(f"    {path} · {place}" if path else f"    {place}", style="dim")
    yield text.Text("    ").append_text(highlighted(snippet(chunk["text"], query), query))


def snippet(chunk: str, query: str) -> str:
    """The part of a chunk around the first word of the query that occurs in it."""
    flat = wording.one_line(_LEADING_HEADINGS.sub("", chunk) or chunk)
    if len(flat) <= SNIPPET_CHARACTERS:
        return flat
    found = _words(query).search(flat) if _has_words(query) else None
    begin = max(0, found.start() - BEFORE_FIRST_WORD) if found else 0
    begin = min(begin, len(flat) - SNIPPET_CHARACTERS)
    if begin > 0:
        begin = flat.find(" ", begin) + 1 or begin
    end = min(len(flat), begin + SNIPPET_CHARACTERS)
    if end < len(flat):
        end = max(flat.rfind(" ", begin, end), begin + 1)
    return ("…" if begin else "") + flat[begin:end] + ("…" if end < len(flat) else "")


def highlighted(snippet: str, query: str) -> "text.Text":
    """The snippet with the query's words in bold."""
    from rich import text

    made = text.Text(snippet)
    if _has_words(query):
        made.highlight_regex(_words(query), style="bold yellow")
    return made


def filter_of(given: Iterable[str]) -> dict[str, object]:
    """The filter of all `--filter` options; every one of them must hold."""
    clauses = [_clause(text) for text in given]
    return clauses[0] if len(clauses) == 1 else {"$and": clauses}


def _clause(given: str) -> dict[str, object]:
    if given.lstrip().startswith("{"):
        try:
            value = json.loads(given)
        except ValueError as error:
            raise failures.usage(
                f"--filter is not JSON: {error}.", advice="Write --filter 'team=hr' or JSON."
            ) from error
        if isinstance(value, dict):
            return value
    match = _CLAUSE.fullmatch(given)
    if match is None:
        raise failures.usage(
            f"--filter '{given}' cannot be read.", advice="""Write team=hr, year>=2025, or JSON as '{"team": "hr"}'."""
        )
    name, operator, value = match.groups()
    return {name: {_OPERATORS[operator]: _scalar(value)}}


def _scalar(value: str) -> object:
    """true, false and numbers as such, all else as text; quotes make a text of anything."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, str | int | float) else value


def _has_words(query: str) -> bool:
    return bool(_terms(query))


def _terms(query: str) -> list[str]:
    found = re.findall(r"\w+", query)
    return [word for word in found if len(word) > 2] or found


def _words(query: str) -> re.Pattern[str]:
    terms = sorted({re.escape(term) for term in _terms(query)}, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(terms)})\w*", re.IGNORECASE)
