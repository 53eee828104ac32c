"""Secrets at rest open with the key and the owner that they were sealed for, and with nothing else."""

import pytest

from bloomweaver.adapters import sealing
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from tests.support import web

OWNER = "source/acme/crm"


def sealer(key: bytes = b"k" * 32) -> sealing.AesSealer:
    return sealing.AesSealer(key, random=web.CountingNonces().secret)


def test_what_was_sealed_comes_back():
    sealed = sealer().seal(b"secret", owner=OWNER)
    assert b"secret" not in sealed
    assert sealer().unseal(sealed, owner=OWNER) == b"secret"


def test_the_same_secret_is_sealed_differently_each_time():
    one = sealer()
    assert one.seal(b"secret", owner=OWNER) != one.seal(b"secret", owner=OWNER)


def test_another_key_owner_or_byte_opens_nothing():
    sealed = sealer().seal(b"secret", owner=OWNER)
    attempts = [(sealer(b"x" * 32), sealed, OWNER), (sealer(), sealed, "source/globex/crm"), (sealer(), b"", OWNER)]
    attempts += [(sealer(), sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :], OWNER) for i in range(len(sealed))]
    for opener, data, owner in attempts:
        with pytest.raises(errors.ConfigurationError) as caught:
            opener.unseal(data, owner=owner)
        assert caught.value.reason is Reason.CREDENTIALS_REFUSED


def test_a_key_of_another_length_is_refused():
    with pytest.raises(errors.ConfigurationError):
        sealer(b"short")
