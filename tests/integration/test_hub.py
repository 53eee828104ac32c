"""Fetching a model from a hub on loopback: all files or none, and only the right ones."""

import asyncio
import contextlib
import functools
import http.server
import pathlib
import threading
from typing import ClassVar

import pytest

from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import errors, reasons
from tests.support import tiny_models


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def hub(folder, *, handler=Handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def published(tmp_path):
    return tiny_models.write(tmp_path / "hub" / "maker" / "Tiny" / "resolve" / "main")


def opening(url, tmp_path, base):
    return loading.open_embedder(url, models_dir=tmp_path / "models", threads=1, hub_url=base)


async def test_a_model_is_fetched_once_and_then_needs_no_hub(tmp_path, published):
    with hub(tmp_path / "hub") as base:
        embedder = await opening("hf://maker/Tiny", tmp_path, base)
        await embedder.aclose()
    again = await opening("hf://maker/Tiny", tmp_path, base)
    await again.aclose()
    assert (again.spec.name, again.space) == ("maker--Tiny@main", embedder.space)
    assert again.spec.source.location == "maker/Tiny"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".digests", "maker--Tiny@main"]


async def test_a_revision_is_asked_for_by_name(tmp_path, published):
    tiny_models.write(tmp_path / "hub" / "maker" / "Tiny" / "resolve" / "v2", pooling="cls")
    with hub(tmp_path / "hub") as base:
        embedder = await opening("hf://maker/Tiny@v2", tmp_path, base)
        await embedder.aclose()
    assert (embedder.spec.pooling, embedder.spec.source.revision) == ("cls", "v2")


async def test_a_model_that_lacks_a_file_leaves_nothing_behind(tmp_path, published):
    (published / "model.safetensors").unlink()
    with hub(tmp_path / "hub") as base, pytest.raises(errors.ConfigurationError, match=r"neither model\.safetensors"):
        await opening("hf://maker/Tiny", tmp_path, base)
    assert list((tmp_path / "models").iterdir()) == []


async def test_an_unknown_model_is_named(tmp_path, published):
    with hub(tmp_path / "hub") as base, pytest.raises(errors.ConfigurationError, match="does not exist"):
        await opening("hf://maker/Unknown", tmp_path, base)


async def test_a_hub_that_is_away_is_a_passing_trouble(tmp_path, published):
    with hub(tmp_path / "hub") as base:
        pass
    with pytest.raises(errors.TransientError) as caught:
        await opening("hf://maker/Tiny", tmp_path, base)
    assert caught.value.reason is reasons.Reason.EMBEDDER_UNAVAILABLE
    assert list((tmp_path / "models").iterdir()) == []


async def test_a_pinned_model_with_other_content_on_the_hub_is_refused(tmp_path):
    tiny_models.write(tmp_path / "hub/BAAI/bge-small-en-v1.5/resolve/5c38ec7c405ec4b44b94cc5a9bb96e735b38267a")
    with hub(tmp_path / "hub") as base, pytest.raises(errors.ConfigurationError, match="bge-small-en"):
        await opening("bge-small-en-v1.5", tmp_path, base)


async def test_a_hub_that_redirects_into_this_network_is_not_followed(tmp_path):
    class Redirecting(Handler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.end_headers()

    refused = pytest.raises(errors.ConfigurationError, match=r"169\.254\.169\.254")
    with hub(tmp_path, handler=Redirecting) as base, refused:
        await opening("hf://maker/Tiny", tmp_path, base)


class Breaking(Handler):
    """Ends in the middle of the weights once, and knows ranges and ETags, as hubs do."""

    asked: ClassVar[list[str | None]] = []
    etag = '"one"'

    def do_GET(self):
        if not self.path.endswith("model.safetensors"):
            super().do_GET()
            return
        whole = pathlib.Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        start = (
            int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.headers["If-Range"] == self.etag else 0
        )
        if start >= len(whole):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(whole) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        self.wfile.write(whole[start : len(whole) // 2] if len(self.asked) == 1 else whole[start:])


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def breaking(tmp_path, monkeypatch):
    monkeypatch.setattr(Breaking, "asked", [])
    main, _ = (
        tiny_models.write(tmp_path / "hub" / "maker" / "Tiny" / "resolve" / revision) for revision in ("main", COMMIT)
    )
    return (main / "model.safetensors").stat().st_size


async def interrupted(tmp_path, base, revision):
    with pytest.raises(errors.TransientError, match="cannot fetch"):
        await opening(f"hf://maker/Tiny@{revision}", tmp_path, base)


async def test_what_an_interrupted_fetch_of_a_commit_has_is_not_fetched_again(tmp_path, breaking):
    with hub(tmp_path / "hub", handler=Breaking) as base:
        await interrupted(tmp_path, base, COMMIT)
        assert [path.name for path in (tmp_path / "models").iterdir()] == [f".maker--Tiny@{COMMIT}.partial"]
        embedder = await opening(f"hf://maker/Tiny@{COMMIT}", tmp_path, base)
        await embedder.aclose()
    assert Breaking.asked == [None, f"bytes={breaking // 2}-"]
    directory = tmp_path / "models" / f"maker--Tiny@{COMMIT}"
    published = tmp_path / "hub" / "maker" / "Tiny" / "resolve" / COMMIT
    assert (directory / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    assert not [path.name for path in directory.iterdir() if path.suffix in (".part", ".etag")]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".digests", directory.name]


async def test_bytes_that_changed_on_the_hub_are_fetched_from_the_start(tmp_path, breaking, monkeypatch):
    with hub(tmp_path / "hub", handler=Breaking) as base:
        await interrupted(tmp_path, base, COMMIT)
        monkeypatch.setattr(Breaking, "etag", '"two"')
        embedder = await opening(f"hf://maker/Tiny@{COMMIT}", tmp_path, base)
        await embedder.aclose()
    assert len(Breaking.asked) == 2


async def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path, breaking):
    with hub(tmp_path / "hub", handler=Breaking) as base:
        await interrupted(tmp_path, base, COMMIT)
        (part,) = (tmp_path / "models").rglob("model.safetensors.part")
        part.write_bytes(bytes(2 * breaking))
        await interrupted(tmp_path, base, COMMIT)
        embedder = await opening(f"hf://maker/Tiny@{COMMIT}", tmp_path, base)
        await embedder.aclose()
    assert Breaking.asked == [None, f"bytes={2 * breaking}-", None]


async def test_a_branch_is_fetched_anew_because_it_may_have_moved(tmp_path, breaking):
    with hub(tmp_path / "hub", handler=Breaking) as base:
        await interrupted(tmp_path, base, "main")
        embedder = await opening("hf://maker/Tiny@main", tmp_path, base)
        await embedder.aclose()
    assert Breaking.asked == [None, None]


async def test_processes_that_fetch_at_once_share_one_download(tmp_path, breaking):
    Breaking.asked.append("the one that breaks is over")
    with hub(tmp_path / "hub", handler=Breaking) as base:
        both = await asyncio.gather(*(opening(f"hf://maker/Tiny@{COMMIT}", tmp_path, base) for _ in range(3)))
        for embedder in both:
            await embedder.aclose()
    assert len(Breaking.asked) == 2
