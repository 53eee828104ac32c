import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import errors, signatures
from bloomweaver.domain.reasons import Reason

NOW = 1_732_190_000
SECRET = signatures.Secret(b"0" * 32)
OTHER = signatures.Secret(b"1" * 32)
BODY = b'{"document_id": "a"}'


def headers_of(body=BODY, *, secret=SECRET, webhook_id="msg_1", at=NOW):
    signed = signatures.sign(body, secret=secret, webhook_id=webhook_id, timestamp_seconds=at)
    return {name.encode(): value.encode() for name, value in signed.items()}


def verify(headers, body=BODY, *, secrets=(SECRET,), now=NOW, tolerance=300):
    pairs = headers.items() if isinstance(headers, dict) else headers
    return signatures.verify(pairs, body, secrets=secrets, now_seconds=now, tolerance_seconds=tolerance)


def digest(content, key=SECRET.key):
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())


GOOD = headers_of()
SIGNATURE = GOOD[b"webhook-signature"]
ID, STAMP = GOOD[b"webhook-id"], GOOD[b"webhook-timestamp"]


def changed(**headers):
    made = dict(GOOD)
    for name, value in headers.items():
        made[b"webhook-" + name.encode()] = value
    return made


def without(name):
    return {key: value for key, value in GOOD.items() if key != b"webhook-" + name.encode()}


def signed_as(webhook_id, stamp, body=BODY):
    """Correctly signed, with an id or a time stamp outside of the grammar."""
    return changed(id=webhook_id, timestamp=stamp, signature=b"v1," + digest(b"%b.%b.%b" % (webhook_id, stamp, body)))


def test_the_published_example_of_standard_webhooks_is_reproduced():
    secret = signatures.parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signatures.sign(
        b'{"test": 2432232314}',
        secret=secret,
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_seconds=1614265330,
    )
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signed_request_gives_its_id():
    assert verify(GOOD) == "msg_1"


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_a_clock_within_the_tolerance_is_accepted(offset):
    assert verify(headers_of(at=NOW + offset)) == "msg_1"


def test_both_secrets_of_a_rotation_are_accepted():
    assert verify(headers_of(secret=OTHER), secrets=(SECRET, OTHER)) == "msg_1"
    assert verify(headers_of(secret=SECRET), secrets=(SECRET, OTHER)) == "msg_1"


def test_a_sender_may_sign_with_several_secrets_and_schemes():
    several = b"v1a,c2lnbmF0dXJl v1," + digest(b"x") + b" " + SIGNATURE
    assert verify(changed(signature=several)) == "msg_1"


def test_other_headers_may_come_twice():
    assert verify(
        [*GOOD.items(), (b"accept", b"a"), (b"accept", b"b"), (b"webhook-extra", b""), (b"webhook-extra", b"")]
    )


FORGED = {
    "no headers": ({}, BODY),
    "no id": (without("id"), BODY),
    "no timestamp": (without("timestamp"), BODY),
    "no signature": (without("signature"), BODY),
    "another body": (GOOD, BODY + b" "),
    "an empty body": (GOOD, b""),
    "another id": (changed(id=b"msg_2"), BODY),
    "another timestamp": (changed(timestamp=b"1732190001"), BODY),
    "another secret": (headers_of(secret=OTHER), BODY),
    "too old": (headers_of(at=NOW - 301), BODY),
    "too far ahead": (headers_of(at=NOW + 301), BODY),
    "empty id": (signed_as(b"", STAMP), BODY),
    "id with a dot": (signed_as(b"msg.1", STAMP), BODY),
    "id moved into the body": (changed(id=b"msg_1." + STAMP), BODY),
    "id that swallows the timestamp": (signed_as(ID + b"." + STAMP, b""), BODY),
    "id of 129 characters": (signed_as(b"a" * 129, STAMP), BODY),
    "id with white space": (signed_as(b" msg_1", STAMP), BODY),
    "id with a line end": (signed_as(b"msg_1\n", STAMP), BODY),
    "id beyond ASCII": (signed_as("ü".encode(), STAMP), BODY),
    "id of broken UTF-8": (signed_as(b"\xff", STAMP), BODY),
    "id with NUL": (signed_as(b"a\x00", STAMP), BODY),
    "timestamp with a sign": (signed_as(ID, b"+732190000"), BODY),
    "timestamp with a fraction": (signed_as(ID, b"1732190000.0"), BODY),
    "timestamp with white space": (signed_as(ID, b" 1732190000"), BODY),
    "timestamp with a line end": (signed_as(ID, b"1732190000\n"), BODY),
    "timestamp in milliseconds": (signed_as(ID, b"1732190000000"), BODY),
    "timestamp with an underscore": (signed_as(ID, b"1_73219000"), BODY),
    "timestamp in other digits": (signed_as(ID, "１７３２１９００００".encode()), BODY),
    "timestamp of nine digits": (signed_as(ID, b"999999999"), BODY),
    "timestamp that is empty": (signed_as(ID, b""), BODY),
    "timestamp not a number": (signed_as(ID, b"nannannann"), BODY),
    "empty signature": (changed(signature=b""), BODY),
    "no scheme": (changed(signature=SIGNATURE[3:]), BODY),
    "another scheme": (changed(signature=b"v2," + SIGNATURE[3:]), BODY),
    "scheme in capitals": (changed(signature=b"V1," + SIGNATURE[3:]), BODY),
    "asymmetric scheme with our digest": (changed(signature=b"v1a," + SIGNATURE[3:]), BODY),
    "signature in hexadecimal": (
        changed(signature=b"v1," + base64.b64decode(SIGNATURE[3:]).hex().encode()),
        BODY,
    ),
    "signature in URL base64": (
        changed(signature=SIGNATURE.replace(b"/", b"_").replace(b"+", b"-")[:-2] + b"-="),
        BODY,
    ),
    "signature without padding": (changed(signature=SIGNATURE.rstrip(b"=")), BODY),
    "signature with more padding": (changed(signature=SIGNATURE + b"="), BODY),
    "signature with white space inside": (changed(signature=SIGNATURE[:10] + b"\t" + SIGNATURE[10:]), BODY),
    "signature cut": (changed(signature=SIGNATURE[:-5]), BODY),
    "signature of nothing": (changed(signature=b"v1,"), BODY),
    "comma in place of space": (changed(signature=SIGNATURE + b"," + SIGNATURE), BODY),
    "two spaces": (changed(signature=SIGNATURE + b"  " + SIGNATURE), BODY),
    "space at the end": (changed(signature=SIGNATURE + b" "), BODY),
    "eleven signatures": (changed(signature=b" ".join([SIGNATURE] * 11)), BODY),
    "a megabyte of signatures": (changed(signature=b" ".join([SIGNATURE] * 20_000)), BODY),
    "a good signature behind a malformed one": (changed(signature=b"v1,xx " + SIGNATURE), BODY),
    "id twice": ([*GOOD.items(), (b"webhook-id", b"msg_2")], BODY),
    "the same id twice": ([*GOOD.items(), (b"webhook-id", ID)], BODY),
    "timestamp twice": ([*GOOD.items(), (b"webhook-timestamp", STAMP)], BODY),
    "signature twice": ([(b"webhook-signature", b"v1,xx"), *GOOD.items()], BODY),
    "body signed alone": (changed(signature=b"v1," + digest(BODY)), BODY),
    "signed without dots": (changed(signature=b"v1," + digest(ID + STAMP + BODY)), BODY),
    "SHA-1": (
        changed(
            signature=b"v1," + base64.b64encode(hmac.new(SECRET.key, ID + b"." + STAMP + b"." + BODY, "sha1").digest())
        ),
        BODY,
    ),
    "keyed with the secret's text": (
        changed(signature=b"v1," + digest(ID + b"." + STAMP + b"." + BODY, SECRET.text.encode())),
        BODY,
    ),
    "keyed with nothing": (changed(signature=b"v1," + digest(ID + b"." + STAMP + b"." + BODY, b"")), BODY),
}


@pytest.mark.parametrize(("headers", "body"), FORGED.values(), ids=FORGED)
def test_a_forged_request_is_refused_with_the_one_error(headers, body):
    with pytest.raises(signatures.SignatureError) as caught:
        verify(headers, body)
    assert caught.value.reason is Reason.INVALID_SIGNATURE
    assert str(caught.value) == str(signatures.SignatureError())


def test_the_spare_bits_of_a_signature_must_be_zero():
    last = SIGNATURE[-2:-1]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sibling = alphabet[alphabet.index(last) ^ 1 : (alphabet.index(last) ^ 1) + 1]
    respelt = SIGNATURE[:-2] + sibling + b"="
    assert base64.b64decode(respelt[3:]) == base64.b64decode(SIGNATURE[3:])
    with pytest.raises(signatures.SignatureError):
        verify(changed(signature=respelt))


def test_without_secrets_nothing_is_accepted():
    with pytest.raises(signatures.SignatureError):
        verify(GOOD, secrets=())


@given(st.binary(max_size=60), st.binary(max_size=20), st.binary(max_size=120), st.binary(max_size=40))
def test_hostile_bytes_raise_nothing_else(webhook_id, stamp, signature, body):
    with pytest.raises(signatures.SignatureError):
        verify(changed(id=webhook_id, timestamp=stamp, signature=signature), body)


@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_signature_passes(position, mask):
    bent = bytearray(SIGNATURE)
    bent[position] ^= mask
    with pytest.raises(signatures.SignatureError):
        verify(changed(signature=bytes(bent)))


def test_a_secret_survives_its_text_and_stays_out_of_logs():
    secret = signatures.new_secret(lambda size: b"\x07" * size)
    assert signatures.parse_secret(secret.text) == secret
    assert secret.text not in repr(secret)
    assert "\\x07" not in repr(secret)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_!!!!", SECRET.text[6:], SECRET.text.rstrip("="), SECRET.text + "\n",
    "WHSEC_" + SECRET.text[6:],
     "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_ü"],
)  # fmt: skip
def test_a_malformed_secret_is_refused(text):
    with pytest.raises(errors.Refusal):
        signatures.parse_secret(text)
