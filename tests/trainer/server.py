"""The trainer's HTTP application in a thread of the test, without a supervisor: the test takes the processes' part."""

import threading
from pathlib import Path

import uvicorn

from trainer import jobs
from trainer.attempts import AttemptTokens
from trainer.engines.bytemodel.engine import ByteEngine
from trainer.engines.port import Engine
from trainer.http.app import create_app
from trainer.http.serving import Serving
from trainer.server_client import ServerClient
from trainer.settings import read_settings
from trainer.storage import Storage
from trainer.store import Store
from trainer.weights_cache import WeightsCache


class Server:
    """A data directory and an application on it, which can be stopped and started again on its port."""

    def __init__(self, data_dir: Path, port: int, engine: Engine | None = None) -> None:
        self.settings = read_settings(data_dir)
        self._engine = engine or ByteEngine(self.settings.engine_dir)
        self.store, self.storage = Store(data_dir), Storage(self.settings.storage_url)
        self.store.create_tables()
        self.tokens = AttemptTokens(data_dir)
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._running: tuple[uvicorn.Server, threading.Thread] | None = None

    def start(self) -> None:
        """Listen; returns once the port accepts connections."""
        engine = self._engine
        serving = Serving(engine, WeightsCache(self.storage, self.settings.data_dir / "cache", max_bytes=0))
        app = create_app(self.settings, self.store, self.storage, engine, serving, self.tokens)
        config = uvicorn.Config(app, port=self._port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        listening = config.bind_socket()
        listening.listen()
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        self._running = server, thread

    def stop(self) -> None:
        """Stop listening."""
        if self._running is not None:
            server, thread = self._running
            server.should_exit = True
            thread.join()
            self._running = None

    def job(self, **changes: object) -> str:
        """A job that was just created."""
        given = dict.fromkeys(
            ("start_weights", "validation_file", "suffix", "metadata", "n_epochs", "batch_size", "rate", "beta")
        )
        values: dict[str, object] = given | {
            "model": "tiny-1",
            "base": "tiny-1",
            "training_file": "file-1",
            "seed": 1,
            "method": "supervised",
            "adapter": None,
        }
        return jobs.create_job(self.store, jobs.NewJob(**values | changes))  # type: ignore[arg-type]

    def training(self, *, gpus: int = 0) -> tuple[str, int]:
        """A job whose training an attempt has claimed: its id and the attempt's number."""
        job_id = self.job()
        with self.store.write() as db:
            db.execute("UPDATE jobs SET status = 'queued', total_steps = 9 WHERE id = ?", (job_id,))
        attempt = jobs.claim(self.store, job_id, training=True, gpus=gpus)
        assert attempt is not None
        return job_id, attempt

    def client(self, job_id: str, attempt: int, *, give_up_seconds: float = 60) -> ServerClient:
        """The client that the attempt's process has."""
        token = self.tokens.token(job_id, attempt)
        url = f"{self.url}/internal/jobs/{job_id}/attempts/{attempt}"
        return ServerClient(url, token, between=lambda: None, give_up_seconds=give_up_seconds)

    def events(self, job_id: str) -> list[str]:
        """The kinds of a job's events, oldest first, after the two of its creation."""
        rows = self.store.rows("SELECT kind FROM events WHERE job_id = ? ORDER BY seq", job_id)
        return [row["kind"] for row in rows if row["kind"] not in ("created", "validating", "started")]
