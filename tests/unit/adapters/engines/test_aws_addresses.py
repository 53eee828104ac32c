import pytest

from bloomweaver.adapters.engines.aws import addresses
from bloomweaver.domain import errors


def test_a_url_says_where_and_how():
    found = addresses.parse(
        "s3://acme/some/prefix/?region=eu-central-1&endpoint=http://127.0.0.1:9&kms_key=alias/x",
        shape="",
        options=("kms_key",),
    )
    assert (found.host, found.path) == ("acme", "some/prefix")
    assert found.access == addresses.Access("eu-central-1", "http://127.0.0.1:9")
    assert found.options == {"kms_key": "alias/x"}


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqs://key:secret@region/p", "never holds credentials"),
        ("sqs:///p", "write sqs://region/prefix"),
        ("sqs://region/p#x", "write sqs://region/prefix"),
        ("sqs://region/p?kms=1", "'kms' is no setting"),
        ("sqs://region/p?kms_key=", "has one value"),
        ("sqs://region/p?kms_key=a&kms_key=b", "has one value"),
        ("sqs://region/p?kms_key", "not name=value"),
    ],
)
def test_a_url_that_says_something_else_is_refused(url, complaint):
    with pytest.raises(errors.ConfigurationError, match=complaint):
        addresses.parse(url, shape="sqs://region/prefix", options=("kms_key",))


def test_a_refusal_never_repeats_a_secret():
    with pytest.raises(errors.ConfigurationError) as refused:
        addresses.parse("sqs://key:hush@region/p", shape="")
    assert "hush" not in str(refused.value)


def test_a_flag_is_true_or_false():
    address = addresses.parse("sqs://r/p?fair=true", shape="", options=("fair",))
    assert addresses.flag(address, "fair")
    assert not addresses.flag(addresses.parse("sqs://r/p", shape=""), "fair")
    with pytest.raises(errors.ConfigurationError, match="true or false"):
        addresses.flag(addresses.parse("sqs://r/p?fair=yes", shape="", options=("fair",)), "fair")


def test_a_region_in_front_is_said_once():
    assert addresses.in_region(addresses.parse("sqs://eu-west-1/p", shape="")).region == "eu-west-1"
    with pytest.raises(errors.ConfigurationError, match="twice"):
        addresses.in_region(addresses.parse("sqs://eu-west-1/p?region=us-east-1", shape=""))
