"""`push` against the real routes: what is sent, what is skipped, what is deleted, what is said."""

import io
import json
import pathlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.support import served, terminal


@pytest.fixture
async def api() -> AsyncIterator[served.Served]:
    async with served.opened() as opened:
        yield opened


@pytest.fixture
def handbook(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "handbook"
    (folder / "travel").mkdir(parents=True)
    (folder / "leave.md").write_text("# Leave\n\nThirty days a year.\n")
    (folder / "travel" / "trains.txt").write_text("Trains are preferred to planes.\n")
    (folder / "page.html").write_text("<html><title>Page</title><p>Some words.</p></html>")
    return folder


async def stored(api: served.Served) -> dict[str, dict[str, object]]:
    items = (await api.get(served.HANDBOOK)).json()["items"]
    return {item["document_id"]: item for item in items}


async def test_a_folder_becomes_searchable_documents(api, handbook, capsys):
    ended = await terminal.Terminal(api, capsys).run("push", str(handbook))
    assert ended.code == 0, ended.err
    assert "3 searchable" in ended.out
    found = await stored(api)
    assert {name: (item["media_type"], item["title"], item["state"]) for name, item in found.items()} == {
        "leave.md": ("text/markdown", "Leave", "searchable"),
        "page.html": ("text/html", "Page", "searchable"),
        "travel/trains.txt": ("text/plain", None, "searchable"),
    }
    assert {item["origin"] for item in found.values()} == {str(handbook)}


async def test_unchanged_files_are_not_sent_again(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    await shell.run("push", str(handbook))
    shell.hop.sent.clear()
    ended = await shell.run("push", str(handbook))
    assert ended.code == 0
    assert "3 unchanged" in ended.out.lower()
    assert shell.hop.sent == []
    (handbook / "leave.md").write_text("# Leave\n\nThirty-one days a year.\n")
    await shell.run("push", str(handbook))
    sent = json.loads(shell.hop.sent[0])
    assert [event["document_id"] for event in sent] == ["leave.md"]


async def test_what_is_not_searchable_yet_is_sent_again_and_followed(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys, working=False)
    ended = await shell.run("push", str(handbook), "--no-wait")
    assert ended.code == 0
    assert "bloomweaver wait push-" in ended.out
    waiting = await shell.run("push", str(handbook), "--timeout", "0")
    assert waiting.code == 5
    assert "3 not yet searchable" in waiting.err
    assert "still on their way" in waiting.out
    await api.settle()
    assert (await shell.run("push", str(handbook))).code == 0


async def test_binary_hidden_empty_and_huge_files_are_skipped_with_the_reason(api, handbook, capsys):
    (handbook / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (handbook / "empty.md").write_text("  \n")
    (handbook / "huge.txt").write_text("x" * (10 * 1024 * 1024 + 1))
    (handbook / "zeros.txt").write_bytes(b"a\0b")
    (handbook / ".secret.md").write_text("hidden")
    (handbook / ".git").mkdir()
    (handbook / ".git" / "config.txt").write_text("hidden")
    ended = await terminal.Terminal(api, capsys).run("push", str(handbook), "--json")
    account = json.loads(ended.out)
    assert ended.code == 0
    assert {one["name"]: one["reason"] for one in account["skipped"]} == {
        "empty.md": "empty_text",
        "huge.txt": "too_large",
        "logo.png": "unsupported_media_type",
        "zeros.txt": "unsupported_media_type",
    }
    assert set(await stored(api)) == {"leave.md", "page.html", "travel/trains.txt"}


async def test_a_file_named_by_hand_that_is_binary_is_a_failure(api, tmp_path, capsys):
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    ended = await terminal.Terminal(api, capsys).run("push", str(tmp_path / "logo.png"))
    assert ended.code == 1
    assert "logo.png: binary" in ended.err


async def test_delete_missing_takes_what_is_gone_from_this_origin_alone(api, handbook, tmp_path, capsys):
    shell = terminal.Terminal(api, capsys)
    await shell.run("push", str(handbook))
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs.md").write_text("# Theirs\n\nSome words.")
    await shell.run("push", str(other))
    (handbook / "leave.md").unlink()
    ended = await shell.run("push", str(handbook), "--delete-missing", "--yes")
    assert ended.code == 0, ended.err
    assert "1 gone" in ended.err
    assert set(await stored(api)) == {"page.html", "travel/trains.txt", "theirs.md"}


async def test_delete_missing_asks_above_a_tenth(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    await shell.run("push", str(handbook))
    (handbook / "leave.md").unlink()
    ended = await shell.run("push", str(handbook), "--delete-missing")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert "leave.md" in await stored(api)


async def test_an_empty_folder_deletes_nothing_even_with_yes(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    await shell.run("push", str(handbook))
    for file in [*handbook.glob("*.*"), *handbook.glob("travel/*")]:
        file.unlink()
    ended = await shell.run("push", str(handbook), "--delete-missing", "--yes")
    assert ended.code == 1
    assert "no file at all" in ended.err
    assert len(await stored(api)) == 3


async def test_what_the_patterns_leave_out_is_not_deleted(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    await shell.run("push", str(handbook))
    (handbook / "page.html").unlink()
    ended = await shell.run("push", str(handbook), "--include", "*.md", "--delete-missing", "--yes")
    assert ended.code == 0
    assert "page.html" in await stored(api)


async def test_a_dry_run_sends_nothing(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    ended = await shell.run("push", str(handbook), "--dry-run")
    assert ended.code == 0
    assert "3 new" in ended.err
    assert shell.hop.sent == []


async def test_lines_are_events_in_order_and_bad_ones_are_named(api, tmp_path, capsys):
    feed = tmp_path / "feed.ndjson"
    good = [{"document_id": "a", "text": "one"}, {"document_id": "a", "text": "two"}]
    gone = {"document_id": "b", "change_type": "delete"}
    feed.write_text("\n".join([json.dumps(good[0]), "{not json", json.dumps(good[1]), "", json.dumps(gone)]))
    ended = await terminal.Terminal(api, capsys).run("push", str(feed))
    assert ended.code == 1
    assert "feed.ndjson:2: malformed_json" in ended.err
    text = await api.get(f"{served.HANDBOOK}/a/text")
    assert text.text == "two"


async def test_a_bad_event_does_not_stop_its_neighbours(api, tmp_path, capsys):
    feed = tmp_path / "feed.ndjson"
    items = [
        {"document_id": "a", "text": "one"},
        {"document_id": "../b", "text": "x"},
        {"document_id": "c", "text": " "},
    ]
    feed.write_text("\n".join(json.dumps(item) for item in items))
    ended = await terminal.Terminal(api, capsys).run("push", str(feed), "--json")
    account = json.loads(ended.out)
    assert ended.code == 1
    assert (account["accepted"], account["counts"]["searchable"]) == (1, 1)
    assert [one["reason"] for one in account["refused"]] == ["invalid_document_id", "empty_text"]


async def test_events_that_are_all_bad_are_refused_one_by_one(api, tmp_path, capsys):
    feed = tmp_path / "feed.ndjson"
    feed.write_text(json.dumps({"document_id": "a", "text": " "}) + "\n")
    ended = await terminal.Terminal(api, capsys).run("push", str(feed))
    assert ended.code == 1
    assert "default/a: empty_text" in ended.err


async def test_stdin_can_be_one_document(api, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"# Notes\n\nSome words.\n")))
    ended = await terminal.Terminal(api, capsys).run("push", "-", "--id", "notes.md")
    assert ended.code == 0, ended.err
    assert (await stored(api))["notes.md"]["title"] == "Notes"


async def test_a_call_is_repeated_with_the_same_ids_while_the_server_is_away(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    shell.hop.refusals = [
        terminal.problem(503, "ledger_unavailable", {"retry-after": "0"}),
        terminal.problem(429, "rate_limited", {"retry-after": "0"}),
        httpx2.ConnectError("refused"),
    ]
    ended = await shell.run("push", str(handbook))
    assert ended.code == 0, ended.err
    assert len(shell.hop.sent) == 4
    assert len(set(shell.hop.sent)) == 1
    assert len(await stored(api)) == 3


async def test_a_key_without_write_ends_the_push_with_not_allowed(api, handbook, capsys):
    reader = await api.key(verbs=["read"])
    ended = await terminal.Terminal(api, capsys).run("push", str(handbook), secret=reader)
    assert ended.code == 4
    assert "'write'" in ended.err


async def test_a_key_that_may_only_write_pushes_without_waiting(api, handbook, capsys):
    writer = await api.key(verbs=["write"])
    ended = await terminal.Terminal(api, capsys).run("push", str(handbook), secret=writer)
    assert ended.code == 0, ended.err
    assert "may not read" in ended.err
    assert len(await stored(api)) == 3


async def test_an_unknown_collection_is_made_only_on_request(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    ended = await shell.run("push", str(handbook), "-c", "handbook")
    assert ended.code == 1
    assert "--create" in ended.err
    made = await shell.run("push", str(handbook), "-c", "handbook", "--create")
    assert made.code == 0, made.err


async def test_a_collection_ordered_by_its_source_gets_the_time_of_the_file(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys)
    assert (await shell.run("collections", "create", "wiki", "--ordering", "source")).code == 0
    ended = await shell.run("push", str(handbook), "-c", "wiki")
    assert ended.code == 0, ended.err
    answer = await api.get("/v1/collections/wiki/documents/leave.md")
    assert answer.json()["source_version"] == str((handbook / "leave.md").stat().st_mtime_ns)


async def test_failed_documents_are_named_and_make_the_push_fail(api, handbook, capsys):
    shell = terminal.Terminal(api, capsys, working=False)
    batch = json.loads((await shell.run("push", str(handbook), "--no-wait", "--json")).out)["batch_id"]
    assert (await shell.run("wait", batch, "--timeout", "0")).code == 5
    await api.settle()
    ended = await shell.run("wait", batch)
    assert ended.code == 0
    assert "3 searchable" in ended.out


async def test_two_folders_with_a_file_of_the_same_path_are_refused(api, handbook, tmp_path, capsys):
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "leave.md").write_text("# Other\n\nwords")
    ended = await terminal.Terminal(api, capsys).run("push", str(handbook), str(twin))
    assert ended.code == 2
    assert "--prefix" in ended.err
    assert await stored(api) == {}


@pytest.mark.parametrize(
    "arguments",
    [["nowhere"], ["-", "x.md"], ["x.ndjson", "--watch"], ["x.md", "--id", "y"], ["x.md", "--delete-missing"]],
    ids=" ".join,
)
async def test_what_cannot_be_meant_is_a_usage_error(api, arguments, capsys):
    ended = await terminal.Terminal(api, capsys).run("push", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("Error: ")


async def test_many_files_go_in_calls_of_a_fair_size(api, tmp_path, capsys):
    for number in range(120):
        (tmp_path / f"{number:03}.txt").write_text(f"words of {number}")
    shell = terminal.Terminal(api, capsys)
    ended = await shell.run("push", str(tmp_path))
    assert ended.code == 0, ended.err
    assert len(shell.hop.sent) == 3
    assert "120 searchable" in ended.out
