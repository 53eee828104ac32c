"""`bloomweaver models bench`, `build` and `verify`: work on model files, in this process and without a server.

The texts come from a folder, or are a collection's own chunks, which the server is asked for.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bloomweaver.cli import failures, options, screen, surroundings
from bloomweaver.cli.commands import model_serving

if TYPE_CHECKING:
    from bloomweaver.workbench import benching
    from bloomweaver.workbench import main as workbench

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name, path or URL of a model.", show_default=False)]
From = Annotated[
    pathlib.Path | None,
    typer.Option("--texts", metavar="DIR", help="Folder of Markdown, HTML or text files.", show_default=False),
]
Chunks = Annotated[
    str | None,
    typer.Option("--collection", "-c", metavar="NAME", help="Or a collection: its own chunks.", show_default=False),
]
Also = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="MODEL", help="Another model or runtime beside it; repeatable."),
]
Against = Annotated[str, typer.Option("--against", metavar="A,B", help="Libraries: sentence-transformers, fastembed.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Passes of each, in turns.")]
Most = Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many chunks.")]


@app.callback()
def models(
    context: typer.Context, *, as_json: options.AsJson = False, url: options.Url = None, data: options.Data = None
) -> None:
    """List the models that a collection may have; promote and pin them; measure, build and verify their files."""
    if context.invoked_subcommand is None:
        model_serving.list_models(context, as_json=as_json, url=url, data=data)


app.command("list")(model_serving.list_models)
app.command()(model_serving.show)
app.command()(model_serving.promote)
app.command()(model_serving.pin)


@app.command()
def bench(
    context: typer.Context,
    model: Model,
    *,
    also: Also = None,
    against: Against = "",
    texts: From = None,
    collection: Chunks = None,
    most: Most = 256,
    rounds: Rounds = 5,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Measure how fast a model embeds on this machine.

    Every variant takes its turn in every round; the ratio is to MODEL, the part of the peak to the runtime's own bare
    matrix multiplication on the same cores.
    """
    from bloomweaver.workbench import main

    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)
    rivals = [name.strip() for name in against.split(",") if name.strip()]

    async def work() -> "list[benching.Figures]":
        return await main.bench(
            [model, *(also or [])],
            models_dir=around.data(data) / "models",
            texts=await _texts(around, texts, collection, most=most, url=url, data=data),
            against=rivals,
            most=most,
            rounds=rounds,
        )

    rows = surroundings.run(work())
    display.json({"model": model, "cores": main.cores(), "variants": [dataclasses.asdict(row) for row in rows]})
    if not as_json:
        heads = ("variant", "tokens/s", "chunks/s", "ratio", "fill", "of peak", "query p50 ms", "p95 ms")
        display.table(heads, [_cells(row) for row in rows], numbers=heads[1:])


@app.command()
def build(
    context: typer.Context,
    model: Model,
    *,
    texts: From = None,
    collection: Chunks = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Make an int8 copy of a model, calibrated on texts like those that it will read.

    It is MODEL-int8 in the models directory. It is refused until `bloomweaver models verify` has admitted it.
    """
    from bloomweaver.workbench import main

    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)

    async def work() -> pathlib.Path:
        found = await _texts(around, texts, collection, most=main.CALIBRATION_TEXTS, url=url, data=data)
        return await main.build(model, models_dir=around.data(data) / "models", texts=found)

    made = surroundings.run(work())
    display.json({"model": made.name, "directory": str(made)})
    display.show(f"Built {made.name} in {made}.", f"  next: bloomweaver models verify {made.name} --texts DIR")


@app.command()
def verify(
    context: typer.Context,
    model: Model,
    *,
    texts: From = None,
    collection: Chunks = None,
    most: Most = 1000,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Measure what an int8 model's integers cost, and admit it or not.

    Compares with its exact weights in fp32: cosines of the same chunks, and rankings for their own headings. The
    figures are kept beside the model. Ends with 1 where it is not admitted.
    """
    from bloomweaver.workbench import main

    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)

    async def work() -> "tuple[Any, pathlib.Path]":
        found = await _texts(around, texts, collection, most=most, url=url, data=data)
        return await main.verify(model, models_dir=around.data(data) / "models", texts=found, most=most)

    found, record = surroundings.run(work())
    faults = found.faults()
    figures = {**dataclasses.asdict(found), "ranking_loss": found.ranking_loss}
    display.json({"model": model, "admitted": not faults, "faults": faults, "record": str(record), **figures})
    display.show(
        f"{found.texts:,} chunks: cosine to fp32 {found.cosine_mean:.4f} on average, {found.cosine_p1:.4f} at p1.",
        f"{found.queries:,} headings: nDCG@10 {found.ndcg:.4f}, in fp32 {found.ndcg_exact:.4f}"
        f" ({found.ranking_loss:+.2%} lost).",
        *([f"Not admitted: {fault}." for fault in faults] or [f"Admitted. Collections may name {model}."]),
    )
    if faults:
        raise typer.Exit(failures.ExitCode.FAILED)


async def _texts(
    around: surroundings.Surroundings,
    folder: pathlib.Path | None,
    collection: str | None,
    *,
    most: int,
    url: str | None,
    data: pathlib.Path | None,
) -> "workbench.Texts":
    from bloomweaver.cli import client
    from bloomweaver.workbench import main

    if (folder is None) == (collection is None):
        raise failures.usage("It takes texts to measure with.", advice="Give either --texts DIR or --collection NAME.")
    if folder is not None:
        if not surroundings.is_folder(folder):
            raise failures.usage(f"There is no folder {folder}.", advice="Give a folder of text files.")
        return main.Texts(folder=folder)
    chunks: list[tuple[str, Sequence[str]]] = []
    async with around.api(url, data) as api:
        path = client.collection_path(str(collection), "documents")
        async for document in api.pages(path, state="searchable"):
            place = client.document_path(str(collection), document["document_id"], "chunks")
            chunks += [(item["text"], item["heading"]) async for item in api.pages(place)]
            if len(chunks) >= most:
                break
    return main.Texts(chunks=chunks)


def _cells(row: "benching.Figures") -> list[str]:
    optional = (
        (row.fill, "{:.0%}"),
        (row.of_peak, "{:.0%}"),
        (row.query_p50_ms, "{:.1f}"),
        (row.query_p95_ms, "{:.1f}"),
    )
    return [
        row.name,
        f"{row.tokens_per_second:,.0f}",
        f"{row.chunks_per_second:,.1f}",
        f"{row.ratio:.2f}",
        *("" if value is None else form.format(value) for value, form in optional),
    ]
