"""The storms of `make storm`, in a minute each: processes and servers killed under clients that keep a model."""

import pytest

from tests.storm import figures, storm
from tests.support.servers import fixtures

PLANS = (
    storm.Plan(
        kind="postgresql", events=1500, kills=10, seconds=30.0, fault_seconds=2.0, documents=200, settle_seconds=600.0
    ),
    storm.Plan(
        kind="servers", events=500, kills=4, seconds=20.0, fault_seconds=4.0, documents=120, settle_seconds=600.0
    ),
)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
async def test_nothing_is_lost_in_a_storm(plan: storm.Plan, tmp_path):
    with fixtures.or_not_run():
        verdict = await storm.storm(plan, tmp_path)
    assert verdict.violations == [], figures.told(verdict)
    assert verdict.acknowledged == plan.events
    assert sum(verdict.kills.values()) >= plan.kills
    assert len(verdict.happened) > 3, "faults did not happen"
    assert verdict.audit["clean"]
    assert verdict.audit["documents"] >= verdict.documents - verdict.deleted
    assert verdict.searches > plan.events / plan.batch, "nobody searched during the storm"
