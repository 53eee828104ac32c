"""The tables of docs/reference/configuration.md, made from the settings themselves."""

import re

from bloomweaver.allinone import settings as dev
from bloomweaver.controller import settings as controller
from bloomweaver.embedder import settings as embedder
from bloomweaver.reconciler import settings as reconciler
from bloomweaver.runtime import config
from bloomweaver.runtime import settings as runtime
from bloomweaver.search import settings as search
from bloomweaver.webhook import settings as webhook
from bloomweaver.writer import settings as writer

SECTION = re.compile(r"(<!-- settings: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
SERVICES: dict[str, type[config.ServiceSettings]] = {
    "webhook": webhook.WebhookSettings,
    "embedder": embedder.EmbedderSettings,
    "writer": writer.WriterSettings,
    "search": search.SearchSettings,
    "reconciler": reconciler.ReconcilerSettings,
    "controller": controller.ControllerSettings,
}


def page(text: str) -> str:
    """The page with its tables as they have to be."""
    return SECTION.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n{found[3]}", text)


def _table(name: str) -> str:
    everywhere = config.describe(runtime.ProcessSettings)
    if name == "every process":
        described = [each for each in everywhere if each.name != "BLOOMWEAVER_PORT"]
    elif name == "dev":
        described = list(config.describe(dev.DevSettings))
    else:
        described = [each for each in config.describe(SERVICES[name]) if each not in everywhere]
        port = next(each for each in config.describe(SERVICES[name]) if each.name == "BLOOMWEAVER_PORT")
        described += [port] if port not in described else []
    rows = [f"| {_name(each)} | {_default(each)} | {each.description} |" for each in described]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _name(variable: config.Variable) -> str:
    return f"`{variable.name}`" + (f", `{variable.name}_FILE`" if variable.secret else "")


def _default(variable: config.Variable) -> str:
    if variable.default is None:
        return "has to be set"
    return variable.default if variable.default == "not set" else f"`{variable.default}`"
