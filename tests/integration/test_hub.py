"""Fetching a model from a hub on loopback: all files or none, and only the right ones."""

import contextlib
import functools
import http.server
import threading

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
