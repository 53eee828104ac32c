import asyncio
from typing import cast

import pytest

from bloomweaver.adapters import opening
from bloomweaver.controller import cache, resources, scaling, working
from bloomweaver.domain import errors
from bloomweaver.domain.documents import Backlog
from bloomweaver.ports import healing
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world
from tests.support import kubernetes_api


async def test_a_wake_has_the_ledger_asked_at_once_and_believes_nothing_else():
    clock = clocks.ManualClock()
    async with opening.open_database("mem://", clock=clock, nonces=opening.system_nonces()) as database:
        board = scaling.Board(clock=clock)
        looker = working.Looker(database.healing, board)
        looker.wake()
        await asyncio.wait_for(looker.once(), working.LOOK_SECONDS / 2)
        assert not board.active(f"change:{world.A.space}")


async def test_all_models_are_answered_for_from_one_question_to_the_ledger():
    class Ledger:
        asked = 0

        async def backlog(self) -> list[Backlog]:
            self.asked += 1
            return [Backlog(f"change:space-{number}", 3) for number in range(300)]

    ledger, board = Ledger(), scaling.Board(clock=clocks.ManualClock())
    looker = working.Looker(cast("healing.Healing", ledger), board)
    looker.wake()
    await looker.once()
    for lane in [f"change:space-{number}" for number in range(300)] * 3:
        assert board.active(lane)
        assert board.size(lane).chunks == 3
    assert ledger.asked == 1


async def test_a_definition_that_was_removed_under_the_controller_says_so_and_ends_nothing():
    api, ended = kubernetes_api.KubernetesApi(), list[None]()
    path = f"/apis/{resources.API_VERSION}/namespaces/kb/{resources.PLURAL}"
    api.answers["GET", path] = (404, "the server could not find the requested resource")
    watch = working.watch(api.cluster(), cache.Cache(), namespace="kb", die=lambda: ended.append(None))
    with pytest.raises(errors.ConfigurationError, match="apply the definition"):
        await watch()
    assert ended == []
