"""Documents wake pods from zero, pods go back to zero, and what was promised holds while none runs."""

import time

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing

COLLECTION = "handbook"
SECRET = "The canary's name is Ottokar the third."


def test_a_folder_wakes_pods_from_zero_and_becomes_searchable(release: installed.Release):
    release.until_asleep()
    [embedder] = (each["metadata"]["name"] for each in release.embedders())
    began = time.time()
    with release.watching() as seen:
        told = release.inside(
            "bloomweaver", "push", "/data/documents", "--collection", COLLECTION, "--create", "--timeout", "300"
        )
        took = time.time() - began
        assert seen.most(embedder, since=began) >= 1
    hits = release.search("how does a document become searchable", COLLECTION)
    assert hits, told
    back = release.until_asleep()
    print(f"{len(preparing.documents())} documents searchable after {took:.1f} s; zero pods {back:.1f} s later")


def test_what_is_searchable_stays_so_with_every_worker_at_zero(release: installed.Release):
    assert release.asleep()
    hits = release.search("what happens to a document that failed", COLLECTION)
    assert len(hits) == 10
    audit = release.audit()
    assert (audit["lost"], audit["extra"], audit["resurrected"]) == (0, 0, 0), audit


def test_a_delete_is_invisible_at_once_while_every_worker_is_at_zero(release: installed.Release):
    path = f"/v1/collections/{COLLECTION}/documents/ottokar"
    put = release.call("webhook", "PUT", f"{path}?wait=searchable&timeout=60", {"text": SECRET})
    assert put["status"] == 200, put
    assert release.search(SECRET, COLLECTION)[0]["document_id"] == "ottokar"
    release.until_asleep()
    deleted = release.call("webhook", "DELETE", path)
    assert deleted["status"] == 200, deleted
    assert "ottokar" not in {hit["document_id"] for hit in release.search(SECRET, COLLECTION, limit=100)}
    assert all(not each["spec"].get("replicas") for each in release.embedders())
    release.until_asleep()
    print("deleted at zero, invisible in the next search, and no embedder woke")


def test_an_update_from_zero_shows_the_new_text_alone(release: installed.Release):
    path = f"/v1/collections/{COLLECTION}/documents/opening-hours?wait=searchable&timeout=60"
    for text in ("The office opens at nine.", "The office opens at eleven."):
        release.until_asleep()
        assert release.call("webhook", "PUT", path, {"text": text})["status"] == 200
        hits = release.search("when does the office open", COLLECTION, limit=100)
        assert [hit["chunk"]["text"] for hit in hits if hit["document_id"] == "opening-hours"] == [text]


def test_an_edit_of_the_metadata_wakes_no_embedder(release: installed.Release):
    release.until_asleep()
    began = time.time()
    with release.watching() as seen:
        patched = release.call(
            "webhook", "PATCH", f"/v1/collections/{COLLECTION}/documents/opening-hours", {"metadata": {"team": "desk"}}
        )
        assert patched["status"] in {200, 202}, patched

        def shown() -> bool | None:
            hits = release.search("when does the office open", COLLECTION)
            return any(hit["metadata"] == {"team": "desk"} for hit in hits) or None

        clusters.until("the metadata in a hit", shown, state=release.told)
        for embedder in release.embedders():
            assert seen.most(embedder["metadata"]["name"], since=began) == 0
