import re
import time

from bloomweaver.adapters import clock


def test_the_clocks_are_the_machine_s():
    system = clock.SystemClock()
    assert abs(system.now() - time.time()) < 5
    assert abs(system.monotonic() - time.monotonic()) < 5


def test_nonces_are_names_of_128_random_bits():
    nonces = [clock.SystemNonces().nonce() for _ in range(1000)]
    assert len(set(nonces)) == 1000
    assert all(re.fullmatch("[a-z2-7]{26}", nonce) for nonce in nonces)


def test_secrets_have_the_size_asked_for_and_differ():
    nonces = clock.SystemNonces()
    assert len(nonces.secret(32)) == 32
    assert nonces.secret(32) != nonces.secret(32)
