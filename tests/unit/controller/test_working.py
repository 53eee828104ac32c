import asyncio

from bloomweaver.adapters import opening
from bloomweaver.controller import scaling, working
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world


async def test_a_wake_has_the_ledger_asked_at_once_and_believes_nothing_else():
    clock = clocks.ManualClock()
    async with opening.open_database("mem://", clock=clock, nonces=opening.system_nonces()) as database:
        board = scaling.Board(clock=clock)
        looker = working.Looker(database.healing, board)
        looker.wake()
        await asyncio.wait_for(looker.once(), working.LOOK_SECONDS / 2)
        assert not board.active(f"change:{world.A.space}")
