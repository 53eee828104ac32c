"""The official client of OpenAI against `/v1/embeddings`: what people point at it works unchanged."""

import contextlib

import httpx2
import openai
import pytest

from tests.support import served


@contextlib.asynccontextmanager
async def opened():
    async with (
        served.opened() as api,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(api.app)) as carrier,
        openai.AsyncOpenAI(api_key=api.secret, base_url="http://test/v1", http_client=carrier, max_retries=0) as client,
    ):
        yield client


async def test_texts_come_back_as_vectors_in_their_order():
    async with opened() as client:
        made = await client.embeddings.create(model="mem", input=["one two", "three"])
        alone = await client.embeddings.create(model="mem", input="three")
    assert [item.index for item in made.data] == [0, 1]
    assert made.usage.prompt_tokens == 3
    assert made.data[1].embedding == pytest.approx(alone.data[0].embedding)


async def test_numbers_and_base64_are_the_same_vector():
    async with opened() as client:
        # Without a format of its own the client asks for base64 and decodes it.
        packed = await client.embeddings.create(model="mem", input="one two", dimensions=8)
        plain = await client.embeddings.create(model="mem", input="one two", encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)


async def test_lists_of_ids_are_texts_of_their_own():
    async with opened() as client:
        made = await client.embeddings.create(model="mem", input=[[1, 2, 3], [4]])
    assert len(made.data) == 2
    assert made.usage.total_tokens == 4


async def test_models_are_listed():
    async with opened() as client:
        assert [model.id async for model in client.models.list()] == ["mem"]


async def test_what_is_wrong_is_an_error_with_its_message():
    async with opened() as client:
        with pytest.raises(openai.UnprocessableEntityError, match="dimensions"):
            await client.embeddings.create(model="mem", input="a", dimensions=5)
        with pytest.raises(openai.UnprocessableEntityError, match="no such model"):
            await client.embeddings.create(model="gpt", input="a")
    async with opened() as client:
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="bw_wrong").embeddings.create(model="mem", input="a")
