"""`POST /v1/audit`: compare ledger and store now, and repair on request. Needs the verb `admin`."""

import dataclasses

import fastapi
from starlette import requests, responses

from bloomweaver.domain import credentials
from bloomweaver.reconciler import auditing
from bloomweaver.runtime.web import answers, authentication, bodies, paths


class AuditRequest(bodies.Body):
    """repair: write lost vectors again from their builds, remove what no document owns."""

    repair: bool = False


def router(auditor: auditing.Auditor) -> fastapi.APIRouter:
    """The audit's route."""
    made = paths.router(tags=["audit"])

    @made.post("/v1/audit", openapi_extra=bodies.operation(AuditRequest))
    async def audit(request: requests.Request) -> responses.Response:
        """Compare ledger and vector store, document by document; with `repair`, mend what can be mended."""
        principal = authentication.principal_of(request, credentials.Verb.ADMIN)
        wish = await bodies.read_json(request, AuditRequest)
        found = await auditor.audit(repair=wish.repair, tenant=principal.tenant)
        return answers.as_json({**dataclasses.asdict(found), "clean": found.clean})

    return made
