import fnmatch
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloomweaver.domain import credentials, errors, identity


def random_bytes(size_bytes):
    return bytes(range(size_bytes))


def test_a_key_has_its_id_in_its_text_and_nothing_else_begins_with_bw():
    key = credentials.new_key(random_bytes)
    assert re.fullmatch(r"bw_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", key.secret)
    assert credentials.key_id_of(key.secret) == key.id
    assert not key.id.startswith("bw_")
    assert not key.hash.startswith("bw_")


def test_a_key_is_kept_as_a_hash_and_recognised_by_it():
    key = credentials.new_key(random_bytes)
    assert credentials.secret_matches(key.secret, key.hash)
    assert not credentials.secret_matches(key.secret[:-1] + "x", key.hash)
    assert not credentials.secret_matches("", key.hash)
    assert not credentials.secret_matches(key.secret, "")


def test_the_secret_does_not_show_in_a_log():
    key = credentials.new_key(random_bytes)
    assert key.secret not in repr(key)
    assert key.hash not in repr(key)


@pytest.mark.parametrize(
    "text",
    ["", "bw_", "bw_aaaaaaaa", "bw_aaaaaaaa_" + "x" * 42, "bw_aaaaaaaa_" + "x" * 44, "bw_AAAAAAAA_" + "x" * 43,
     "bw_aaaaaaa1_" + "x" * 43, "BW_aaaaaaaa_" + "x" * 43, " bw_aaaaaaaa_" + "x" * 43, "bw_aaaaaaaa_" + "x" * 43 + "\n",
     "bw_aaaaaaaa_" + "x" * 42 + "=", "bw_aaaaaaaa_" + "ü" * 43, "bw_aaaaaaaa-" + "x" * 43, "x" * 10_000],
)  # fmt: skip
def test_what_is_no_key_has_no_id(text):
    assert credentials.key_id_of(text) is None


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_is_a_key_or_not(text):
    assert credentials.key_id_of(text) is None
    assert not credentials.secret_matches(text, credentials.hash_secret("other" + text))


def principal(**fields):
    return credentials.Principal(tenant=identity.TenantId("t"), key_id="k", **{"verbs": frozenset({"read"}), **fields})


def test_verbs_are_independent():
    admin = principal(verbs=credentials.check_verbs(["admin"]))
    assert admin.allows(credentials.Verb.ADMIN)
    assert not admin.allows(credentials.Verb.READ)
    assert not admin.allows(credentials.Verb.WRITE)


@pytest.mark.parametrize("verbs", [[], ["own"], ["read", "READ"], ["read", ""]])
def test_unknown_verbs_are_refused(verbs):
    with pytest.raises(errors.Refusal):
        credentials.check_verbs(verbs)


@pytest.mark.parametrize(
    ("globs", "name", "seen"),
    [
        (("*",), "anything", True),
        (("handbook",), "handbook", True),
        (("handbook",), "handbook2", False),
        (("hand*",), "handbook", True),
        (("*book",), "handbook", True),
        (("h*b*k",), "handbook", True),
        (("h?ndbook",), "handbook", True),
        (("h?",), "h", False),
        (("a.b",), "axb", False),
        (("a*", "b*"), "bee", True),
        ((), "a", False),
        (("*a*a*a*a*a*a*a*a*b",), "a" * 63, False),
    ],
)
def test_a_key_sees_the_collections_of_its_globs(globs, name, seen):
    assert principal(collections=globs).sees(name) is seen


def test_globs_agree_with_fnmatch_where_both_mean_the_same():
    alphabet = ["a", "b", "*", "?"]
    for glob in map("".join, itertools.product(alphabet, repeat=4)):
        for name in ("", "a", "ab", "abab", "ba", "aabb", "bbbb"):
            assert credentials.glob_matches(glob, name) == fnmatch.fnmatchcase(name, glob), (glob, name)


@pytest.mark.parametrize("glob", ["", "A*", "a[bc]", "a/b", "-a", "a" * 64, "a\n", "ä*", "a b", "{a,b}"])
def test_globs_of_other_grammars_are_refused(glob):
    with pytest.raises(errors.Refusal):
        credentials.check_globs(["ok", glob])


def test_a_key_has_between_one_and_a_hundred_globs():
    assert credentials.check_globs(["a*"] * 100) == ("a*",) * 100
    for globs in ([], ["a"] * 101):
        with pytest.raises(errors.Refusal):
            credentials.check_globs(globs)
