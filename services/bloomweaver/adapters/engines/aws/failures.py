"""What an AWS service or its SDK complains about, as our errors.

Invariants: nothing of the SDK's errors leaves the adapters; whatever is set up wrongly is a ConfigurationError of one
line that names what to correct; whatever passes by itself is a TransientError. The words of the service are repeated
only where they name the cause; they never hold a document's text, because no request does.
"""

from collections.abc import Collection, Mapping
from typing import Any

from bloomweaver.adapters.engines import addresses
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

THROTTLED_SECONDS = 2.0

_THROTTLED = frozenset(
    {
        "KmsThrottled", "LimitExceededException", "OverLimit", "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled",
        "RequestThrottledException", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException",
    }
)  # fmt: skip
_PASSING = frozenset(
    {
        "ConditionalRequestConflict", "InternalError", "InternalFailure", "InternalServerError", "OperationAborted",
        "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "TransactionInProgressException",
    }
)  # fmt: skip
_CREDENTIALS = frozenset(
    {
        "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId",
        "InvalidClientTokenId", "InvalidSecurity", "InvalidToken", "MissingAuthenticationToken", "NotSignedUp",
        "OptInRequired", "SignatureDoesNotMatch", "TokenRefreshRequired", "UnrecognizedClientException",
    }
)  # fmt: skip
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedOperation", "403"}
)
_CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"})
_KEY = ("Kms", "KMS.")


class Refused(Exception):
    """A service said no in a way that the caller of `calls.Calls.call` named as expected."""

    def __init__(self, code: str, *, status: int, response: Mapping[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.response = response


def codes(response: Mapping[str, Any]) -> tuple[str, ...]:
    """Every name of the error in an answer: services that changed their protocol send an old and a new one."""
    error = response.get("Error", {})
    names = (error.get("Code"), error.get("QueryErrorCode"))
    short = [str(name).rpartition("#")[2].rpartition(".")[2] for name in names if name]
    return (*(str(name) for name in names if name), *short)


def answered(response: Mapping[str, Any], *, what: str, unavailable: Reason) -> errors.BloomWeaverError:
    """The error for a service's answer. what: the thing that was asked, in words."""
    metadata = response.get("ResponseMetadata", {})
    status, names = int(metadata.get("HTTPStatusCode", 0)), codes(response)
    name = names[0] if names else str(status)
    told = str(response.get("Error", {}).get("Message") or "no reason given")[:300].strip().rstrip(".")
    if status == 429 or _any(names, _THROTTLED):
        after = _retry_after(metadata.get("HTTPHeaders", {}))
        return errors.TransientError(unavailable, f"{what} throttles ({name}).", retry_after_seconds=after)
    if status >= 500 or _any(names, _PASSING):
        return errors.TransientError(unavailable, f"{what} answered {status} ({name}).")
    if any(name.startswith(_KEY) for name in names):
        detail = f"{what}: its KMS key cannot be used ({name}: {told}). Correct the key, its state or its policy."
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    if _any(names, _CLOCK):
        detail = f"{what} says that this machine's clock is wrong ({name}). Set the clock."
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    if _any(names, _CREDENTIALS):
        detail = f"{what} does not take these credentials ({name}: {told}). Correct them, or the role of the pod."
        return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
    if status in (401, 403) or _any(names, _DENIED):
        detail = f"{what}: these credentials may not do this ({name}: {told}). Allow it, or use another role."
        return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, f"{what} refused a request ({name}: {told}).")


def raised(error: Exception, *, what: str, unavailable: Reason) -> errors.BloomWeaverError:
    """The error for what the SDK raised without an answer of the service: no credentials, no way there."""
    kind = type(error).__name__
    addresses.refuse_untrusted(error, what=what, remedy="Name its authority in ca_file or AWS_CA_BUNDLE.")
    if kind in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ConfigParseError"}:
        detail = f"{what}: there are no credentials ({error}). Give the pod a role, or name a credentials_file."
        return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
    if kind in {"NoRegionError", "InvalidRegionError", "InvalidEndpointConfigurationError", "EndpointProviderError"}:
        detail = f"{what}: its region or endpoint is missing or wrong ({error}). Correct the URL."
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    if kind == "ParamValidationError":
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, f"{what}: {error}")
    return errors.TransientError(unavailable, f"{what} cannot be reached ({kind}).")


def is_web_page(answer: Mapping[str, Any]) -> bool:
    """Whether it was HTML, which the SDK takes for an answer without fields. No blob of ours is stored as HTML."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("content-type", "")).startswith("text/html")


def web_page(*, what: str, unavailable: Reason) -> errors.BloomWeaverError:
    """Something else listens there: a proxy's page, or a wrong endpoint."""
    detail = (
        f"{what} answered with a web page. Something else listens there: correct the endpoint, or look at the proxy."
    )
    return errors.TransientError(unavailable, detail)


def throttles(code: str) -> bool:
    """Whether an error of one entry of a batch is about the rate."""
    return code in _THROTTLED or code.rpartition(".")[2] in _THROTTLED


def _any(names: Collection[str], known: Collection[str]) -> bool:
    return any(name in known for name in names)


def _retry_after(headers: Mapping[str, str]) -> float:
    given = headers.get("retry-after", "")
    return min(60.0, max(1.0, float(given))) if given.isdigit() else THROTTLED_SECONDS
