import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import identity
from bloomweaver.domain.identity import CollectionUid, Pipe


def test_sequence_numbers_of_a_later_epoch_are_above_all_of_an_earlier_one():
    assert identity.first_seq(2) > identity.first_seq(1) + 2**40 - 1
    assert identity.first_seq(2**13 - 1) + 2**40 - 1 == identity.MAX_SEQ


def test_a_content_hash_covers_media_type_and_bytes_apart():
    known = identity.content_hash("text/plain", b"a")
    assert known == identity.content_hash("text/plain", b"a")
    assert known != identity.content_hash("text/markdown", b"a")
    assert known != identity.content_hash("text/plain", b"b")


def test_names_are_those_of_every_release():
    """What is stored under a name is found by it: a change here orphans every deployment's data."""
    assert identity.document_key("leave-policy") == "6db14111e5beb78a"
    assert identity.pipe_of(space="s", max_tokens=254, overlap_tokens=0, revision="1", epoch=1) == "81fbfffa38662dab"
    assert identity.meta_hash("T", None, {"b": 1, "a": ("x",)})[:16] == "e2bfa180d53be9b7"
    assert identity.fingerprint("a", 1, None)[:16] == "0ae764bffd3a17b6"


def test_a_meta_hash_does_not_depend_on_the_order_of_keys():
    one = identity.meta_hash("T", "u", {"a": 1, "b": ("x", "y")})
    assert one == identity.meta_hash("T", "u", {"b": ("x", "y"), "a": 1})
    assert one != identity.meta_hash("T", "u", {"a": 1, "b": ("y", "x")})
    assert one != identity.meta_hash(None, "u", {"a": 1, "b": ("x", "y")})


def test_a_fingerprint_is_the_hash_of_its_parts_as_canonical_json():
    parts = ("upsert", 'a "quoted"\n\t\x7f\u2028ä😀', 2**63 - 1, None, "")
    assert identity.fingerprint(*parts) == hashlib.sha256(identity.canonical_json(parts)).hexdigest()


def test_the_hash_of_no_meta_is_like_any_other():
    assert identity.meta_hash(None, None, {}) == hashlib.sha256(b"[null,null,{}]").hexdigest()


def test_a_fingerprint_tells_where_its_parts_end():
    assert identity.fingerprint("ab", "c") != identity.fingerprint("a", "bc")
    assert identity.fingerprint("1") != identity.fingerprint(1)
    assert identity.fingerprint(None) != identity.fingerprint("None")


@given(st.text(min_size=1), st.integers(1, identity.MAX_SEQ), st.integers(0, 2000))
def test_a_vector_id_can_be_taken_apart(document_id, seq, index):
    pipe = identity.pipe_of(space="s", max_tokens=254, overlap_tokens=0, revision="1", epoch=1)
    try:
        document_id.encode()
    except UnicodeEncodeError:
        return
    vector_id = f"{identity.vector_prefix(document_id, seq, pipe)}{index}"
    name = identity.parse_vector_id(vector_id)
    assert name == identity.VectorName(identity.document_key(document_id), seq, pipe[:8], index)


def test_the_ids_of_a_version_are_its_own():
    ids = identity.vector_ids("d", 7, "0123456789abcdef", 3)
    assert ids == [f"{identity.document_key('d')}/7/01234567/{index}" for index in range(3)]
    others = (("e", 7, "0123456789abcdef"), ("d", 8, "0123456789abcdef"), ("d", 7, "1123456789abcdef"))
    assert all(not set(ids) & set(identity.vector_ids(*other, 3)) for other in others)


@pytest.mark.parametrize("stray", ["", "a/b/c", "a/b/c/d", "a/1/c/x", "a/1/c/-1", "a/²/c/1", "a/1/c/1/2"])
def test_what_is_not_one_of_our_vector_ids_is_left_to_others(stray):
    assert identity.parse_vector_id(stray) is None


def test_a_namespace_names_deployment_collection_and_pipe():
    namespace = identity.namespace_of("dep", "uid", "pipe")
    assert identity.parse_namespace(namespace) == ("dep", CollectionUid("uid"), Pipe("pipe"))
    assert identity.parse_namespace("somebody-elses") is None


def test_blobs_of_a_collection_share_its_prefix_and_no_other():
    prefix = identity.blob_prefix("dep", "uid")
    raw = identity.raw_blob_key("dep", "uid", document_id="a/../b", nonce="n")
    assert raw.startswith(prefix)
    assert ".." not in raw
    assert identity.build_blob_key("dep", "uid", pipe="p", build="b").startswith(prefix)
    assert not identity.blob_prefix("dep", "uid2").startswith(prefix)


@pytest.mark.parametrize("name", ["a", "a/b", "ä 😀", "a..b", ".hidden", "x" * 512, "../"[2:] + "x"])
def test_document_ids_are_almost_any_text(name):
    assert identity.valid_document_id(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "a/.", "x" * 513, "ä" * 257, "a\x00", "a\nb", "\x7f", "\x85", "\ud800"]
)
def test_document_ids_that_a_path_or_a_log_would_trip_over_are_refused(name):
    assert not identity.valid_document_id(name)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("docs", True),
        ("0.a_b-c", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("A", False),
        ("-a", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_collection_names_fit_into_paths(name, valid):
    assert identity.valid_collection_name(name) is valid
