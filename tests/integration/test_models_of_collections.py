"""A model that is not the one that stored vectors are of: its collection waits and says why; nothing is mixed."""

from bloomweaver.adapters.embedders import memory
from bloomweaver.allinone import application, catalogue, models, stages
from bloomweaver.domain.documents import State
from bloomweaver.domain.events import Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import embedders, queues
from tests.support import pipelines


async def test_another_model_under_the_same_name_leaves_documents_waiting_with_the_reason() -> None:
    async with pipelines.opened() as pipe:
        other = memory.MemoryEmbedder(memory.spec_of(dimension=16))

        async def open_model(name: str) -> embedders.Embedder:
            return other

        async with models.ModelPool(open_model, on_batch=lambda model, inference: None) as pool:
            ports = _ports(pipe)
            offered = catalogue.Catalogue(pool, default="mem", listing=list)
            unavailable = await application.begin(ports, pool, application.collections_of(ports, offered))
            await pipe.put("a", "one two three")
            queue = queues.queue_name(Lane.CHANGE, pipe.embedder.space)
            pipe.workers[queue] = stages.Unavailable(unavailable[pipe.embedder.space])
            await pipe.work(queue)

        row = (await pipe.look("a")).row
        assert (row.state, row.reason, row.attempts) == (State.PENDING, Reason.PIPELINE_UNAVAILABLE, 0)


def _ports(pipe: pipelines.Pipeline) -> stages.Ports:
    database = pipe.store.database
    return stages.Ports(
        ledger=database.ledger,
        healing=database.healing,
        registry=database.registry,
        history=database.history,
        queues=pipe.store.queues,
        blobs=pipe.store.blobs,
        vectors=pipe.store.vectors,
        clock=pipe.clock,
        nonces=pipe.nonces,
        deployment=pipe.deployment,
    )
