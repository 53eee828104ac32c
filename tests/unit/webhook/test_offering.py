import pytest

from bloomweaver.domain import models
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.reasons import Reason
from bloomweaver.webhook import offering

DEFAULT = "hf://acme/of-the-operator"


async def resolve(name: str) -> tuple[models.ModelSpec, str]:
    return models.PROVIDED[models.DEFAULT], f"space of {name}"


def offered(*, names_only: bool) -> offering.Offering:
    return offering.Offering(resolve, default=DEFAULT, names_only=names_only)


@pytest.mark.parametrize("name", ["/etc", "../secrets", "hf://somebody/model", "openvino:///srv/models/a", ".hidden"])
async def test_a_tenant_names_no_path_and_no_hub(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        await offered(names_only=True).find(name)
    assert refused.value.reason is Reason.MODEL_NOT_FOUND
    assert refused.value.pointers[0][0] == "/model"


@pytest.mark.parametrize("name", ["bge-small-en-v1.5", DEFAULT])
async def test_a_name_and_what_the_operator_chose_are_found(name: str) -> None:
    assert (await offered(names_only=True).find(name)).space == f"space of {name}"


async def test_on_a_machine_of_ones_own_a_path_is_a_model() -> None:
    assert (await offered(names_only=False).find("/srv/models/a")).space == "space of /srv/models/a"
