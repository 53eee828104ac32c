"""The OpenAPI document and a reader for it that needs no internet, no account and no third party's script.

`/openapi.json` is generated from the routes once; `/docs` is one page of our own that draws it and tries calls;
`/docs/reasons/{reason}` is where the `type` of every problem leads. The pages run under a policy that lets the browser
load nothing from anywhere else, and everything that they show is put in as text, never as markup.
"""

import functools
import html
import importlib.resources
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastapi
from fastapi.openapi import utils as openapi_utils
from starlette import responses

from bloomweaver.domain import errors, explanations
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, authentication, paths, problems

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS: Final = {"docs.js": "text/javascript", "docs.css": "text/css"}

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def router(app: fastapi.FastAPI) -> fastapi.APIRouter:
    """The routes of the documentation of `app`."""
    made = paths.router(include_in_schema=False)

    @functools.cache
    def document() -> dict[str, Any]:
        return openapi(app)

    @made.get("/openapi.json")
    async def openapi_json() -> responses.Response:
        return answers.as_json(document(), headers={"Cache-Control": "no-cache"})

    @made.get("/docs")
    async def docs() -> responses.Response:
        return responses.HTMLResponse(_asset("docs.html"), headers=_HEADERS)

    @made.get("/docs/assets/{name}")
    async def asset(name: str) -> responses.Response:
        if name not in ASSETS:
            raise errors.Refusal(Reason.NOT_FOUND, "No route has this path; /docs lists all.")
        return responses.Response(_asset(name), media_type=ASSETS[name], headers=_HEADERS)

    @made.get("/docs/reasons")
    async def reasons() -> responses.Response:
        return responses.HTMLResponse(_reason_list(), headers=_HEADERS)

    @made.get("/docs/reasons/{name}")
    async def reason(name: str) -> responses.Response:
        found = {known.value: known for known in Reason}.get(name)
        if found is None:
            raise errors.Refusal(Reason.NOT_FOUND, "There is no such reason; /docs/reasons lists all.")
        return responses.HTMLResponse(_reason_page(found), headers=_HEADERS)

    return made


def openapi(app: fastapi.FastAPI) -> dict[str, Any]:
    """The OpenAPI document: what the framework knows, plus bodies, security and problems as they really are."""
    document = openapi_utils.get_openapi(title=app.title, version=app.version, routes=app.routes)
    components: dict[str, Any] = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _problem_schema()
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "bw_…"}}
    document["security"] = [{"key": []}]
    for path, operation in _operations(document):
        _hoist(operation, schemas)
        answered = operation.setdefault("responses", {})
        # The framework promises its own shape for 422; ours is the problem, for every status from 400 on.
        answered.pop("422", None)
        answered["default"] = {
            "description": "A problem: see `reason`.",
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if not path.startswith(authentication.GUARDED + "/"):
            operation["security"] = []
    components["schemas"] = dict(sorted(schemas.items()))
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document.get("paths", {}).items():
        for operation in methods.values():
            yield path, operation


def _hoist(operation: Mapping[str, Any], schemas: dict[str, Any]) -> None:
    """Titled schemas of a body that a route declared by itself become components, like the framework's own."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        schemas.update(schema.pop("$defs", {}))
        title = schema.get("title")
        if title and "$ref" not in schema:
            schemas[title] = dict(schema)
            content["schema"] = {"$ref": f"#/components/schemas/{title}"}


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    pointer = {"type": "object", "properties": {"pointer": text, "detail": text}, "required": ["pointer", "detail"]}
    return {
        "title": "Problem",
        "description": "RFC 9457. `reason` is stable; read `detail` to a person.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "reason"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "reason": {"type": "string", "enum": sorted(reason.value for reason in problems.TABLE)},
            "errors": {"type": "array", "items": pointer},
        },
    }


def _asset(name: str) -> str:
    return (importlib.resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="stylesheet" href="/docs/assets/docs.css">'
        f'<main class="reason"><p><a href="/docs">API</a> · <a href="/docs/reasons">All reasons</a></p>{body}</main>'
    )


def _reason_page(reason: Reason) -> str:
    known = problems.TABLE.get(reason)
    explanation = explanations.of(reason)
    answered = f"<p>Answers {known[0]}: {html.escape(known[1])}.</p>" if known else ""
    return _page(
        reason.value,
        f"<h1><code>{reason.value}</code></h1><p>{html.escape(explanation.meaning)}</p>{answered}"
        f"<h2>What to do</h2><p>{html.escape(explanation.next)}</p>"
        f"<p>Conditions of resources show it as <code>{reason.camel}</code>.</p>",
    )


def _reason_list() -> str:
    rows = "".join(
        f'<tr><td><a href="/docs/reasons/{reason.value}"><code>{reason.value}</code></a></td>'
        f"<td>{html.escape(explanations.of(reason).meaning)}</td></tr>"
        for reason in Reason
    )
    return _page("Reasons", f"<h1>Reasons</h1><table>{rows}</table>")
