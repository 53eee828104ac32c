"""The base of every service's settings, and how they are read from variables.

Invariants: a process with a misspelt, malformed or missing variable does not start, and says all that is wrong at once;
a secret's value never appears in an error, a log line or a `repr`.

    class WebhookSettings(config.ServiceSettings):
        port: int = pydantic.Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")

    settings = config.read(WebhookSettings, environment.read())

A field `port` is the variable `BLOOMWEAVER_PORT`. A field of type `SecretStr` can also be a file that a platform
mounts: `BLOOMWEAVER_TOKEN_FILE` names it. A tuple is written with commas. An empty variable counts as not set.
"""

import contextlib
import dataclasses
import difflib
import pathlib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping

import pydantic

from bloomweaver.domain import errors, reasons

PREFIX = "BLOOMWEAVER_"
MASKED = "***"

# Read by the command line; set beside a service's own, they are no mistake.
SHARED_VARIABLES = frozenset({"BLOOMWEAVER_API_KEY", "BLOOMWEAVER_DATA", "BLOOMWEAVER_STORE", "BLOOMWEAVER_URL"})
# What only some services read: one set of variables may serve them all. A test holds this against their settings.
FIELDS_OF_SOME = (
    "cpu_image",
    "egress_ports",
    "embedders",
    "gpu_image",
    "gpu_node_labels",
    "grace_seconds",
    "hosted_models",
    "key_burst",
    "key_requests_per_second",
    "kubeconfig",
    "lease",
    "lifeline_fd",
    "listener_fd",
    "max_concurrent_requests",
    "model",
    "models",
    "namespace",
    "operation",
    "pod_config_map",
    "pod_secret",
    "pod_settings_digest",
    "pod_service_account",
    "pull_secrets",
    "scaler_address",
    "scaler_port",
    "threads",
    "visibility_seconds",
    "wake_url",
    "workers",
)
SECRETS_OF_SOME = ("secret",)

# Kubernetes describes every Service of the namespace in each pod's environment: a Service named `bloomweaver-search`
# becomes BLOOMWEAVER_SEARCH_PORT=tcp://…, which nobody misspelt.
_SERVICE_LINK = re.compile(
    r"BLOOMWEAVER_\w*?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)

SettingsT = typing.TypeVar("SettingsT", bound="ServiceSettings")


class ServiceSettings(pydantic.BaseModel):
    """Settings of one service: built once in its main.py, passed as an argument, never changed.

    Every field has a description with its unit, why it exists, and what None means; `describe` prints them.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, defer_build=True
    )

    _files: dict[str, str] = pydantic.PrivateAttr(default_factory=dict)

    def secret_now(self, field: str) -> str | None:
        """A secret as it is now: a file that a platform has changed since the start is read again."""
        file_variable = _variable_name(field) + "_FILE"
        if field in self._files:
            with contextlib.suppress(errors.ConfigurationError):  # a file that is being replaced
                return _read_secret(file_variable, self._files[field], taken=False)
        value = getattr(self, field)
        return value.get_secret_value() if value is not None else None


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """One variable as the reference page shows it. `default` is None where the variable must be set."""

    name: str
    type: str
    default: str | None
    description: str
    secret: bool


def read(kind: type[SettingsT], variables: Mapping[str, str]) -> SettingsT:
    """Build `kind` from variables, or raise ConfigurationError with everything that is wrong, one line each."""
    variables = {name: value for name, value in variables.items() if not _is_service_link(name, value)}
    known = {_variable_name(field): field for field in kind.model_fields}
    files = {name + "_FILE": name for name, field in known.items() if _is_secret(kind, field)}
    others = {_variable_name(field) for field in (*FIELDS_OF_SOME, *SECRETS_OF_SOME)}
    others |= {_variable_name(field) + "_FILE" for field in SECRETS_OF_SOME}
    complaints = list(_unknown(variables, known=[*known, *files, *SHARED_VARIABLES, *others]))
    texts = {name: variables[name] for name in known if variables.get(name)}
    for file_variable, name in files.items():
        if variables.get(file_variable):
            try:
                texts[name] = _read_secret(file_variable, variables[file_variable], taken=name in texts)
            except errors.ConfigurationError as error:
                complaints.append(error.detail)
    values = {known[name]: _split(kind, known[name], text) for name, text in texts.items()}
    try:
        settings = kind(**values)
    except pydantic.ValidationError as error:
        complaints.extend(_complaint(problem["loc"], problem["msg"]) for problem in error.errors(include_input=False))
    else:
        if not complaints:
            settings._files.update(  # noqa: SLF001 - its own module
                {known[name]: variables[file] for file, name in files.items() if variables.get(file)}
            )
            return settings
    raise errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, "; ".join(complaints))


def describe(kind: type[ServiceSettings]) -> tuple[Variable, ...]:
    """Every variable of `kind` in the order of its fields, for reference pages and `--help`."""
    return tuple(
        Variable(
            name=_variable_name(name),
            type=_type_name(field.annotation),
            default=None if field.is_required() else _shown(field.get_default(call_default_factory=True)),
            description=field.description or "",
            secret=_is_secret(kind, name),
        )
        for name, field in kind.model_fields.items()
    )


def values(settings: ServiceSettings) -> dict[str, str]:
    """Every variable with the value that is in force; secrets are told only as set or not."""
    shown = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        secret = isinstance(value, pydantic.SecretStr)
        shown[_variable_name(name)] = MASKED if secret else _shown(value)
    return shown


def _variable_name(field: str) -> str:
    return PREFIX + field.upper()


def _unknown(variables: Mapping[str, str], *, known: Iterable[str]) -> Iterator[str]:
    names = sorted(known)
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (
        name.startswith(PREFIX) and name.endswith("_PORT") and "://" in value
    )


def _read_secret(variable: str, path: str, *, taken: bool) -> str:
    def refuse(why: str) -> errors.ConfigurationError:
        return errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, f"{variable}: {why}")

    if taken:
        raise refuse(f"set either this or {variable.removesuffix('_FILE')}, not both")
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(f"cannot read the file it names ({error.__class__.__name__})") from error
    if not text:
        raise refuse("the file it names is empty")
    return text


def _split(kind: type[ServiceSettings], field: str, text: str) -> object:
    if typing.get_origin(kind.model_fields[field].annotation) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _complaint(location: tuple[int | str, ...], message: str) -> str:
    if not location:
        return message
    name = _variable_name(str(location[0]))
    told = message.removeprefix("Value error, ")
    return f"{name} must be set" if message == "Field required" else f"{name}: {told}"


def _is_secret(kind: type[ServiceSettings], field: str) -> bool:
    annotation = kind.model_fields[field].annotation
    return pydantic.SecretStr in (annotation, *typing.get_args(annotation))


def _type_name(annotation: object) -> str:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("pydantic.types.", "")


def _shown(default: object) -> str:
    if default is None:
        return "not set"
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)
