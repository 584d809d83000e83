"""The object store, the cache of weights beside it, and what is removed from it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trainer import jobs
from trainer.leftovers import remove_leftovers, sweep
from trainer.storage import PART_BYTES, Storage, StorageUnavailable
from trainer.weights_cache import WeightsCache

from .server import Server


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder, and obstore's store in memory, which is no folder, as S3 is none."""
    return Storage((tmp_path / "store").as_uri() if request.param == "local" else "memory:///")


@pytest.fixture
def remote() -> Storage:
    return Storage("memory:///")


def _folder(path: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("url", ["foo://bucket", "s3:///prefix"])
def test_url_of_no_store_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match=r"^TRAINER_STORAGE_URL is '[^\n]+$"):
        Storage(url)


class TestObjects:
    def test_are_read_as_they_were_written(self, storage: Storage, tmp_path: Path) -> None:
        storage.put("files/a", b"abc")
        storage.put_folder("weights/x", _folder(tmp_path / "x", model=b"m" * (PART_BYTES + 1)))
        assert storage.size_bytes("files/a") == 3
        assert storage.keys("weights/") == ["weights/x/model"]
        storage.fetch_folder("weights/x", tmp_path / "copy")
        assert (tmp_path / "copy" / "model").read_bytes() == b"m" * (PART_BYTES + 1)

    def test_that_do_not_exist_are_not_found(self, storage: Storage, tmp_path: Path) -> None:
        for call in (storage.size_bytes, lambda key: storage.fetch_folder(key, tmp_path / "copy")):
            with pytest.raises(FileNotFoundError):
                call("files/none")
        storage.delete("files/none")

    def test_are_written_whole_or_not_at_all(self, storage: Storage) -> None:
        async def breaks_off() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * PART_BYTES
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            asyncio.run(storage.put_stream("files/a", breaks_off()))
        assert storage.keys("files/") == []

    def test_of_a_store_that_does_not_answer_are_unavailable(self) -> None:
        silent = Storage("http://127.0.0.1:9/bucket", retry_seconds=0.1)
        with pytest.raises(StorageUnavailable, match="The object store is unavailable"):
            silent.size_bytes("files/a")


class TestWeightsCache:
    def test_reads_a_local_store_in_place(self, tmp_path: Path) -> None:
        storage = Storage((tmp_path / "store").as_uri())
        cache = WeightsCache(storage, tmp_path / "cache", max_bytes=10)
        storage.put_folder("weights/x", _folder(tmp_path / "x", model=b"m"))
        assert cache.folder("weights/x") == tmp_path / "store" / "weights" / "x"
        with pytest.raises(FileNotFoundError):
            cache.folder("weights/y")

    def test_lets_the_least_recently_used_go(self, remote: Storage, tmp_path: Path) -> None:
        cache = WeightsCache(remote, tmp_path / "cache", max_bytes=10)
        for name in "abc":
            remote.put_folder(f"weights/{name}", _folder(tmp_path / name, model=b"m" * 5))
        first = cache.folder("weights/a")
        cache.folder("weights/b")
        assert cache.folder("weights/a") == first
        cache.folder("weights/c")
        assert sorted(path.name for path in (tmp_path / "cache" / "weights").iterdir()) == ["a", "c"]
        assert (cache.folder("weights/b") / "model").read_bytes() == b"m" * 5

    def test_has_one_that_alone_is_larger(self, remote: Storage, tmp_path: Path) -> None:
        cache = WeightsCache(remote, tmp_path / "cache", max_bytes=1)
        remote.put_folder("weights/a", _folder(tmp_path / "a", model=b"m" * 5))
        assert (cache.folder("weights/a") / "model").exists()

    def test_never_reads_what_an_earlier_server_left(self, remote: Storage, tmp_path: Path) -> None:
        _folder(tmp_path / "cache" / "weights" / "a", model=b"half")
        remote.put_folder("weights/a", _folder(tmp_path / "a", model=b"whole"))
        cache = WeightsCache(remote, tmp_path / "cache", max_bytes=10)
        assert (cache.folder("weights/a") / "model").read_bytes() == b"whole"

    def test_leaves_nothing_of_a_copy_that_fails(self, remote: Storage, tmp_path: Path) -> None:
        cache = WeightsCache(remote, tmp_path / "cache", max_bytes=10)
        with pytest.raises(FileNotFoundError):
            cache.folder("weights/none")
        remote.put_folder("weights/none", _folder(tmp_path / "a", model=b"now"))
        assert (cache.folder("weights/none") / "model").read_bytes() == b"now"


class TestLeftovers:
    """Of a job whose attempt 1 has saved step 2 (a checkpoint) and step 3 (to resume from)."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Server:
        return Server(tmp_path / "data", 0)

    def _saved(self, server: Server) -> tuple[str, list[str]]:
        job_id, attempt = server.training()
        prefix = f"weights/{job_id}/{attempt}"
        with server.store.write() as db:
            db.execute("UPDATE jobs SET resume_weights = ?, resume_step = 3 WHERE id = ?", (f"{prefix}/step-3", job_id))
            db.execute(
                "INSERT INTO models (id, created_at, base, weights, is_checkpoint) VALUES ('m', 0, 'tiny-1', ?, 1)",
                (f"{prefix}/step-2",),
            )
        parts = ("0/step-9", f"{attempt}/step-1", f"{attempt}/step-2", f"{attempt}/step-3", f"{attempt}/step-4")
        for part in parts:
            for kind in ("model", "state"):
                server.storage.put(f"weights/{job_id}/{part}/{kind}/w", b"w")
        return job_id, [f"{attempt}/step-2/model", f"{attempt}/step-3/model", f"{attempt}/step-3/state"]

    def _left(self, server: Server, job_id: str) -> list[str]:
        keys = server.storage.keys(f"weights/{job_id}/")
        return sorted("/".join(key.split("/")[2:5]) for key in keys)

    def test_of_a_live_job_spare_what_it_saves_now(self, server: Server) -> None:
        job_id, needed = self._saved(server)
        remove_leftovers(server.store, server.storage, job_id)
        assert self._left(server, job_id) == [*needed, "1/step-4/model", "1/step-4/state"]

    def test_of_a_paused_job_spare_its_state(self, server: Server) -> None:
        job_id, needed = self._saved(server)
        jobs.pause(server.store, job_id)
        remove_leftovers(server.store, server.storage, job_id)
        assert self._left(server, job_id) == needed

    def test_of_an_ended_job_spare_its_models(self, server: Server) -> None:
        job_id, needed = self._saved(server)
        jobs.cancel(server.store, job_id)
        remove_leftovers(server.store, server.storage, job_id)
        assert self._left(server, job_id) == needed[:1]

    def test_spare_a_deleted_model_that_a_live_job_continues(self, server: Server) -> None:
        job_id, needed = self._saved(server)
        jobs.cancel(server.store, job_id)
        server.job(start_weights=f"weights/{job_id}/1/step-2")
        with server.store.write() as db:
            db.execute("DELETE FROM models")
        remove_leftovers(server.store, server.storage, job_id)
        assert self._left(server, job_id) == needed[:1]

    def test_are_swept_with_files_that_have_no_row(self, server: Server) -> None:
        job_id, needed = self._saved(server)
        jobs.cancel(server.store, job_id)
        server.storage.put("files/none", b"x")
        server.storage.put("weights/gone/1/step-1/model/w", b"w")
        half = server.settings.data_dir / "store" / "files" / "file-1#7"
        half.write_bytes(b"half")
        sweep(server.store, server.storage)
        assert self._left(server, job_id) == needed[:1]
        assert server.storage.keys("files/") == server.storage.keys("weights/gone/") == []
        assert not half.exists()
