"""The real thing, killed: `dev` dies at random moments under a running `push`, and nothing that was sent is lost."""

import pathlib
import random
import subprocess

import pytest

from tests.integration.cli import processes

ROUNDS = 3
DOCUMENTS = 150
CHANGED = 60
SEED = 20261121


def rewrite(folder: pathlib.Path, names: list[str], chance: random.Random, round_: int) -> None:
    for name in names:
        words = " ".join(chance.choices(["leave", "train", "refund", "price", "parent", "office"], k=60))
        (folder / name).write_text(f"# {name} {round_}\n\n{words}\n\n## More\n\n{words[::-1]}\n")


@pytest.mark.timeout(900)
def test_a_server_killed_under_a_push_loses_nothing(tmp_path: pathlib.Path):
    chance = random.Random(SEED)
    folder = tmp_path / "documents"
    folder.mkdir()
    names = [f"{number:03}.md" for number in range(DOCUMENTS)]
    rewrite(folder, names, chance, 0)
    deployment = processes.Deployment(tmp_path)
    for round_ in range(ROUNDS):
        with deployment.serving() as server:
            push = deployment.begin(
                "push", str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            try:
                push.wait(timeout=chance.uniform(0.6, 3.0))
            except subprocess.TimeoutExpired:
                server.kill()
            server.kill()
            server.wait()
        if push.poll() is None:
            push.kill()
        push.communicate()
        rewrite(folder, chance.sample(names, CHANGED), chance, round_ + 1)
    with deployment.serving():
        pushed = deployment.result("push", str(folder))
        assert pushed["refused"] == []
        again = deployment.result("push", str(folder))
        assert again["files"]["unchanged"] == DOCUMENTS
        assert {name: deployment.text(name) for name in names} == {name: (folder / name).read_text() for name in names}
        audited = deployment.result("audit")
        assert audited["clean"], audited
        assert audited["documents"] == DOCUMENTS


@pytest.mark.timeout(900)
def test_a_push_goes_on_by_itself_when_its_server_comes_back(tmp_path: pathlib.Path):
    folder = tmp_path / "documents"
    folder.mkdir()
    chance = random.Random(SEED)
    names = [f"{number:03}.md" for number in range(DOCUMENTS)]
    rewrite(folder, names, chance, 0)
    deployment = processes.Deployment(tmp_path)
    with deployment.serving() as server:
        push = deployment.begin(
            "push", str(folder), "--concurrency", "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert push.stderr is not None
        assert "Compared" in push.stderr.readline()
        server.kill()
    with deployment.serving():
        out, err = push.communicate(timeout=2 * processes.START_SECONDS)
        assert push.returncode == 0, out + err
        assert deployment.result("status")["counts"]["searchable"] == DOCUMENTS
