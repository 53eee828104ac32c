import pytest

from bloomweaver.adapters.engines.postgresql import addresses
from bloomweaver.domain import errors


def test_an_address_says_where_and_as_whom():
    address = addresses.parse("postgresql://app@db.example:5433/bloom?sslmode=verify-full&schema=eu&pool=20")
    assert address.shown == "postgresql://app@db.example:5433/bloom"
    assert (address.schema, address.connections) == ("eu", 20)
    assert address.url.startswith("postgresql://app@db.example:5433/bloom?sslmode=verify-full&")
    assert "schema" not in address.url


def test_what_is_not_said_has_a_default():
    address = addresses.parse("postgres://localhost/bloom")
    assert (address.schema, address.connections) == ("bloomweaver", 10)


def test_only_a_primary_is_connected_to_and_nothing_is_waited_for_for_ever():
    url = addresses.parse("postgresql://h/d").url
    for setting in ("target_session_attrs=read-write", "connect_timeout=10", "tcp_user_timeout=30000"):
        assert setting in url


def test_a_parameter_of_the_address_wins_over_ours():
    url = addresses.parse("postgresql://h/d?connect_timeout=3").url
    assert "connect_timeout=3" in url
    assert "connect_timeout=10" not in url


def test_every_connection_has_its_time_outs_and_its_schema():
    options = str(addresses.parse("postgresql://h/d?schema=eu").options["options"])
    for setting in ("search_path=eu,public", "statement_timeout=60s", "lock_timeout=15s"):
        assert f"-c {setting}" in options
    assert "-c idle_in_transaction_session_timeout=60s" in options


@pytest.mark.parametrize("url", ["postgresql://app:hush@h/d", "postgresql://h/d?password=hush"])
def test_a_password_has_no_place_in_an_address_and_is_not_repeated(url):
    with pytest.raises(errors.ConfigurationError, match="BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE") as caught:
        addresses.parse(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://", "postgresql://user@host:5432/database"),
        ("postgresql://h/d?sslmod=require", "sslmod"),
        ("postgresql://h/d?options=-c", "options"),
        ("postgresql://h/d?schema=Eu", "Eu"),
        ("postgresql://h/d?schema=a;b", "a;b"),
        ("postgresql://h/d?schema=pg_catalog", "pg_catalog"),
        ("postgresql://h/d?pool=1", "pool=1"),
        ("postgresql://h/d?pool=many", "pool=many"),
    ],
)
def test_what_is_wrong_in_an_address_is_named(url, word):
    with pytest.raises(errors.ConfigurationError, match=word):
        addresses.parse(url)
