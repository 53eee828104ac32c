"""Models that a service elsewhere runs, as the resource describes them: their space, their URL, the port to them."""

import urllib.parse
from typing import Final

from bloomweaver.controller import resources
from bloomweaver.domain import hosted, models

KEY_FOLDER: Final = "/run/secrets/bloomweaver-service"
KEY_FILE: Final = "key"
_ENGINES: Final = {
    "HTTP": hosted.Engine.HTTP,
    "Ollama": hosted.Engine.OLLAMA,
    "Bedrock": hosted.Engine.BEDROCK,
}
_PORTS: Final = {"http": 80, "https": 443}


def spec_of(model: resources.Model, service: resources.Service) -> models.ModelSpec:
    """What it is; ConfigurationError where it cannot be."""
    wish = hosted.Wish(
        engine=_ENGINES[service.engine],
        model=service.model,
        name=model.name,
        dimension=model.dimensions,
        max_tokens=model.max_tokens,
        revision=service.revision,
        query_prefix=service.query_prefix,
        document_prefix=service.document_prefix,
    )
    return hosted.spec_of(wish)


def url_of(model: resources.Model, service: resources.Service) -> str:
    """As the embedder is told it."""
    http = service.engine == "HTTP"
    told = {
        "model": service.model if http else "",
        "name": model.name,
        "dimension": str(model.dimensions),
        "max_tokens": str(model.max_tokens),
        "revision": service.revision,
        "query_prefix": service.query_prefix,
        "document_prefix": service.document_prefix,
        "endpoint": service.endpoint if service.engine == "Ollama" else "",
        "asks_dimension": "true" if http and service.asks_dimension else "",
        "region": service.region if service.engine == "Bedrock" else "",
        "key_file": f"{KEY_FOLDER}/{KEY_FILE}" if service.key_secret_ref else "",
    }
    base = service.endpoint if http else f"{service.engine.lower()}://{urllib.parse.quote(service.model, safe=':/.')}"
    query = {name: text for name, text in told.items() if text}
    return f"{base}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"


def port_of(service: resources.Service) -> int:
    """TCP port that its pods have to reach."""
    if service.engine == "Bedrock":
        return _PORTS["https"]
    parts = urllib.parse.urlsplit(service.endpoint)
    return parts.port or _PORTS[parts.scheme]
