"""A model that is not the one that stored vectors are of: its collection waits and says why; nothing is mixed."""

from bloomweaver.adapters.embedders import memory
from bloomweaver.domain.documents import State
from bloomweaver.domain.events import Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.embedder import worker
from bloomweaver.encoding import pool
from bloomweaver.ports import embedders, queues
from tests.support import pipelines


async def test_another_model_under_the_same_name_leaves_documents_waiting_with_the_reason() -> None:
    async with pipelines.opened() as pipe:
        other = memory.MemoryEmbedder(memory.spec_of(dimension=16))

        async def open_model(name: str) -> embedders.Embedder:
            return other

        async with pool.ModelPool(open_model, on_batch=lambda *_, **__: None) as models:
            unusable = await pool.load_used(models, pipe.store.database.registry)
            await pipe.put("a", "one two three")
            queue = queues.queue_name(Lane.CHANGE, pipe.embedder.space)
            pipe.workers[queue] = worker.Unavailable(unusable[pipe.embedder.space].detail)
            await pipe.work(queue)

        row = (await pipe.look("a")).row
        assert (row.state, row.reason, row.attempts) == (State.PENDING, Reason.PIPELINE_UNAVAILABLE, 0)
