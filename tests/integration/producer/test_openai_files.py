"""Files through OpenAI's official SDK, against the API alone."""

import io
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import openai
import pytest

from producer.api.multipart import MultipartForm
from producer.arrival import Arrival
from producer.bootstrap import ProducerContext
from producer.file_batches import read_file_batch
from producer.files import ABANDONED_AFTER
from producer.options import Allowance
from shared.db.repositories import batches
from shared.db.repositories import files as rows
from shared.errors import UsageError
from tests.integration.producer import sdk
from tests.integration.producer.conftest import ADMIN_KEY

DAY_S = 86_400


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with sdk.connect(address, ADMIN_KEY) as client:
        yield client


def stored(context: ProducerContext) -> list[str]:
    folder = context.settings.home_dir / "files"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_file_is_uploaded_from_a_path_from_bytes_and_from_a_tuple(
    client: openai.OpenAI, tmp_path: Path
):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"{}\n")
    by_path = client.files.create(file=path, purpose="batch")
    by_bytes = client.files.create(file=b"{}\n", purpose="batch")
    by_tuple = client.files.create(file=("naïve é.jsonl", b"{}\n"), purpose="batch")
    names = [file.filename for file in (by_path, by_bytes, by_tuple)]
    assert names == ["prompts.jsonl", "upload", "naïve é.jsonl"]
    for file in (by_path, by_bytes, by_tuple):
        assert (file.object, file.bytes, file.purpose, file.status) == (
            "file", 3, "batch", "processed"
        )  # fmt: skip
        assert file.id.startswith("file-")
        assert file.expires_at == file.created_at + 30 * DAY_S
        assert client.files.wait_for_processing(file.id).id == file.id


def test_a_part_without_a_file_name_and_in_any_order_is_a_file(api: httpx.Client):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n{"a":\r\n1}\n\r\n'
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    file = api.post("/v1/files", content=body, headers=headers).json()
    assert (file["filename"], file["bytes"]) == ("upload", 10)
    assert api.get(f"/v1/files/{file['id']}/content").content == b'{"a":\r\n1}\n'


def test_expiry_is_as_asked_and_an_expired_file_is_gone(
    client: openai.OpenAI, context: ProducerContext
):
    file = client.files.create(
        file=b"{}", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    kept = client.files.create(file=b"{}", purpose="user_data")
    assert kept.expires_at is None
    assert context.files.clear(context.clock() + timedelta(seconds=3601)) == 1
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    assert stored(context) == [kept.id]


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
def test_an_expiry_out_of_bounds_is_refused_and_leaves_nothing(
    client: openai.OpenAI, context: ProducerContext, seconds: int
):
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(
            file=b"{}",
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": seconds},
        )
    assert caught.value.param == "expires_after.seconds"
    assert stored(context) == []


def test_what_is_no_file_for_a_batch_is_refused_in_openais_words(
    client: openai.OpenAI, context: ProducerContext
):
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("prompts.txt", b"{}"), purpose="batch")
    assert caught.value.body["message"] == "Invalid file format for Batch API. Must be .jsonl"
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=b"{}", purpose="nonsense")  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == ("invalid_value", "purpose")
    assert caught.value.request_id
    assert stored(context) == []


def test_a_file_beyond_the_limit_is_refused_with_413_and_leaves_nothing(
    client: openai.OpenAI, context: ProducerContext
):
    content = io.BytesIO(b"x" * (9 * 1024 * 1024))
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("a.jsonl", content), purpose="batch")
    assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
    assert stored(context) == []


def test_files_are_listed_newest_first_page_by_page_and_by_purpose(client: openai.OpenAI):
    made = [client.files.create(file=b"%d" % i, purpose="batch").id for i in range(3)]
    other = client.files.create(file=b"x", purpose="evals").id
    assert [file.id for file in client.files.list()] == [other, *made[::-1]]
    assert [file.id for file in client.files.list(limit=1, order="asc")] == [*made, other]
    assert [file.id for file in client.files.list(purpose="evals")] == [other]
    page = client.files.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    with pytest.raises(openai.BadRequestError):
        client.files.list(limit=10_001)


def test_a_listing_goes_on_after_a_file_that_was_deleted_meanwhile(client: openai.OpenAI):
    made = {client.files.create(file=b"%d" % i, purpose="batch").id for i in range(4)}
    deleted = set()
    for file in client.files.list(limit=1):
        deleted.add(client.files.delete(file.id).id)
    assert deleted == made


def test_content_comes_back_as_it_was_also_streamed(client: openai.OpenAI, tmp_path: Path):
    content = b"".join(b'{"n": %d}\n' % i for i in range(50_000))
    file = sdk.upload(client, content)
    assert client.files.content(file.id).read() == content
    with client.files.with_streaming_response.content(file.id) as response:
        assert b"".join(response.iter_bytes()) == content
    client.files.content(file.id).write_to_file(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_deleted_file_is_gone_at_once_with_its_content(
    client: openai.OpenAI, context: ProducerContext
):
    file = sdk.upload(client, b"{}")
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "file", True)
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            gone(file.id)
        assert caught.value.code == "file_not_found"
    assert stored(context) == []


def test_one_project_never_sees_anothers_files(address: str, api: httpx.Client):
    api.post("/v1/projects", json={"name": "acme"})
    keys = [api.post("/v1/keys", json={"project": p}).json()["key"] for p in ("acme", "default")]
    with sdk.connect(address, keys[0]) as acme, sdk.connect(address, keys[1]) as other:
        file = sdk.upload(acme, sdk.lines(1))
        for gone in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError):
                gone(file.id)
        assert list(other.files.list()) == []
        with pytest.raises(openai.NotFoundError) as caught:
            other.batches.create(input_file_id=file.id, endpoint=sdk.CHAT, completion_window="24h")
        assert caught.value.param == "input_file_id"
        assert [each.id for each in acme.files.list()] == [file.id]


def test_the_admin_key_uploads_into_the_project_that_the_form_names(
    client: openai.OpenAI, api: httpx.Client
):
    api.post("/v1/projects", json={"name": "acme"})
    file = client.files.create(file=b"{}", purpose="batch", extra_body={"project": "acme"})
    listed = api.get("/v1/files", params={"project": "acme"}).json()["data"]
    assert [each["id"] for each in listed] == [file.id]
    assert list(client.files.list()) == []


def test_what_a_dead_upload_left_is_swept_after_two_days(context: ProducerContext):
    left = context.files.upload()
    left.write(b"half of a file")
    orphan = stored(context)
    assert context.files.sweep(context.clock()) == 0
    time.sleep(0.002)  # ids tell their milliseconds
    assert context.files.sweep(context.clock() + ABANDONED_AFTER) == 1
    left.close()
    assert orphan
    assert stored(context) == []


def test_a_file_that_a_batch_has_yet_to_read_stays_although_it_is_deleted(
    context: ProducerContext,
):
    upload = context.files.upload()
    upload.write(sdk.lines(1))
    file = upload.keep("default", "batch", "a.jsonl", None)
    body = {"input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h"}
    wanted = read_file_batch(body, context.catalog)
    made = context.file_batches.create(
        wanted, "default", Arrival(None, "me", context.clock()), Allowance()
    )
    context.files.delete(file.id, "default")
    assert stored(context) == [file.id]
    with context.database.reading() as connection:
        assert rows.get(connection, file.id, None, context.clock()) is None
    assert context.file_intake.run_once(threading.Event())
    with context.database.reading() as connection:
        batch = batches.by_number(connection, made.batch.number)
    assert batch is not None
    assert (batch.status, batch.total) == ("in_progress", 1)
    assert context.files.clear(context.clock()) == 1
    assert stored(context) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off',
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 2000 + b"\r\n--b--",
    ],
)
def test_a_broken_form_is_refused(api: httpx.Client, context: ProducerContext, body: bytes):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = api.post("/v1/files", content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"]
    assert stored(context) == []


def test_another_body_than_a_form_is_refused(api: httpx.Client):
    assert api.post("/v1/files", json={"purpose": "batch"}).status_code == 400
    with pytest.raises(UsageError):
        MultipartForm("multipart/form-data", bytearray().extend)
