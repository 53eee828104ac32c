import pytest

from bloomweaver.adapters.engines.aws import failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason


def answer(code, *, status=400, message="Told so.", headers=None):
    return {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }


def translated(*arguments, **settings):
    return failures.answered(answer(*arguments, **settings), what="SQS", unavailable=Reason.QUEUE_UNAVAILABLE)


@pytest.mark.parametrize(
    ("code", "status"),
    [("RequestThrottled", 400), ("SlowDown", 503), ("anything", 429), ("InternalError", 500), ("OverLimit", 403),
     ("anything", 502), ("RequestTimeout", 400)],
)  # fmt: skip
def test_what_passes_by_itself_is_transient(code, status):
    error = translated(code, status=status)
    assert isinstance(error, errors.TransientError)
    assert error.reason is Reason.QUEUE_UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("InvalidClientTokenId", 403, Reason.CREDENTIALS_REFUSED),
        ("SignatureDoesNotMatch", 403, Reason.CREDENTIALS_REFUSED),
        ("ExpiredToken", 400, Reason.CREDENTIALS_REFUSED),
        ("AccessDenied", 403, Reason.CREDENTIALS_REFUSED),
        ("403", 403, Reason.CREDENTIALS_REFUSED),
        ("KmsDisabled", 400, Reason.INVALID_CONFIGURATION),
        ("KMS.NotFoundException", 400, Reason.INVALID_CONFIGURATION),
        ("RequestTimeTooSkewed", 403, Reason.INVALID_CONFIGURATION),
        ("NoSuchBucket", 404, Reason.INVALID_CONFIGURATION),
        ("Strange", 400, Reason.INVALID_CONFIGURATION),
    ],
)
def test_what_somebody_has_to_correct_is_one_line_that_names_it(code, status, reason):
    error = translated(code, status=status)
    assert isinstance(error, errors.ConfigurationError)
    assert error.reason is reason
    assert "SQS" in error.detail
    assert "\n" not in error.detail
    assert error.detail.endswith(".")


def test_a_throttle_says_how_long_to_wait():
    error = translated("SlowDown", status=503, headers={"retry-after": "7"})
    assert isinstance(error, errors.TransientError)
    assert error.retry_after_seconds == 7


def test_old_and_new_names_of_an_error_are_both_known():
    told = {"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue", "QueryErrorCode": "QueueDoesNotExist"}}
    assert {"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"} <= set(failures.codes(told))
