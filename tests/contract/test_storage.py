"""One suite over every storage of uploaded files: a local folder, fsspec's memory, an S3 bucket.

The bucket needs s3fs and a server that speaks S3: TEST_S3_ENDPOINT names its URL, such as the one
of `moto_server`; without it nothing of S3 is tried.
"""

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from producer.storage import BLOCK_BYTES, Storage
from shared.db.repositories.files import new_file_id
from shared.errors import ConfigurationError, NotFoundError, UnavailableError

_S3 = os.environ.get("TEST_S3_ENDPOINT")
_KINDS = ["folder", "memory", *(["s3"] if _S3 else [])]


@pytest.fixture(params=_KINDS)
def url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "files")
    elif request.param == "memory":
        yield f"memory://{uuid.uuid4().hex}/files"
    else:
        yield _bucket(monkeypatch)


def _bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    secrets = {"key": "test", "secret": "test", "endpoint_url": _S3}
    name = f"promptmill-{uuid.uuid4().hex}"
    fsspec.filesystem("s3", **secrets).mkdir(name)
    for setting, value in secrets.items():
        monkeypatch.setitem(fsspec.config.conf.setdefault("s3", {}), setting, value)
    return f"s3://{name}/files"


@pytest.fixture
def storage(url: str) -> Storage:
    return Storage(url)


def kept(storage: Storage, *pieces: bytes) -> str:
    file_id = new_file_id()
    writer = storage.writer(file_id)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return file_id


def read(storage: Storage, file_id: str) -> bytes:
    return b"".join(storage.blocks(storage.reader(file_id)))


def test_a_content_comes_back_as_it_was_written_also_to_another_process(storage: Storage, url: str):
    pieces = (b"one\n", b"", bytes(range(256)) * 4096, b"\xff" * (6 * 1024 * 1024), b"end")
    file_id = kept(storage, *pieces)
    assert read(storage, file_id) == b"".join(pieces)
    assert read(Storage(url), file_id) == b"".join(pieces)
    blocks = storage.blocks(storage.reader(file_id))
    assert max(map(len, blocks)) <= BLOCK_BYTES


def test_an_empty_content_is_a_content(storage: Storage):
    assert read(storage, kept(storage)) == b""


def test_a_content_that_is_not_there_is_not_found(storage: Storage):
    with pytest.raises(NotFoundError) as caught:
        read(storage, new_file_id())
    assert caught.value.code == "file_content_missing"


def test_a_removed_content_is_gone_and_removing_it_again_is_no_error(storage: Storage, url: str):
    first, second = kept(storage, b"a"), kept(storage, b"b")
    for each in (storage, Storage(url)):
        each.remove(first)
    with pytest.raises(NotFoundError):
        read(storage, first)
    assert read(storage, second) == b"b"


def test_a_discarded_content_leaves_nothing(storage: Storage):
    file_id = new_file_id()
    writer = storage.writer(file_id)
    writer.write(b"half")
    writer.discard()
    with pytest.raises(NotFoundError):
        read(storage, file_id)
    assert storage.ids_before(datetime.now(UTC) + timedelta(hours=1)) == []


def test_what_was_written_before_a_moment_is_found_by_its_id(storage: Storage, url: str):
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert storage.ids_before(soon) == []
    old = kept(storage, b"a")
    assert storage.ids_before(soon) == [old]
    assert Storage(url).ids_before(soon) == [old]
    assert storage.ids_before(datetime.now(UTC) - timedelta(hours=1)) == []
    storage.remove(old)
    assert Storage(url).ids_before(soon) == []


def test_a_protocol_that_is_not_there_names_the_setting():
    with pytest.raises(ConfigurationError, match="PROMPTMILL_FILES_URL"):
        Storage("no-such-protocol://x")


def test_a_storage_that_fails_says_so_without_its_paths(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UnavailableError) as caught:
        Storage(str(tmp_path / "file" / "files")).writer(new_file_id())
    assert str(tmp_path) not in json.dumps(caught.value.message)


class _NoEndpointError(Exception):
    """As botocore's: no OSError."""


class _Unreachable(MemoryFileSystem):
    protocol = "unreachable"

    def _open(self, *_: object, **__: object) -> None:
        raise _NoEndpointError("http://10.0.0.7/bucket")

    def rm_file(self, path: str) -> None:
        raise _NoEndpointError(path)

    def ls(self, *_: object, **__: object) -> None:
        raise _NoEndpointError("http://10.0.0.7/bucket")


def test_what_a_backends_own_library_raises_is_a_storage_that_does_not_answer():
    fsspec.register_implementation("unreachable", _Unreachable, clobber=True)
    storage = Storage("unreachable://bucket/files")
    for verb in (
        lambda: storage.reader("file-1"),
        lambda: storage.writer("file-1"),
        lambda: storage.remove("file-1"),
        lambda: storage.ids_before(datetime.now(UTC)),
    ):
        with pytest.raises(UnavailableError, match="NoEndpointError") as caught:
            verb()
        assert "10.0.0.7" not in caught.value.message
