"""The trainer's server process: its arguments, its parts, its start and its end."""

import argparse
import errno
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO

import uvicorn

from .attempts import AttemptTokens
from .engines.choice import ENGINES, make_engine
from .engines.port import Refused
from .http.app import create_app
from .http.serving import Serving
from .launchers.choice import make_launcher
from .leftovers import sweep
from .recording import succeed
from .settings import Settings, read_settings, unknown_variables
from .storage import Storage
from .store import Store
from .supervisor import Supervisor
from .vllm.adapters import Adapters
from .vllm.publisher import Publisher
from .vllm.servers import Servers
from .weights_cache import WeightsCache

_LOCK_SECONDS = 10.0
_log = logging.getLogger("trainer")


def serve() -> int:
    """Serve until SIGTERM or Ctrl-C. Returns 0 after that, 2 if it could not start."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    for chatty in ("uvicorn", "httpx2"):  # httpx2 logs each poll of Ray and of vLLM at INFO
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        _make_folder(arguments.data_dir)
        settings = read_settings(
            arguments.data_dir, pace_seconds=arguments.pace, engine=arguments.engine, models_dir=arguments.models
        )
        for name, nearest in unknown_variables(os.environ):
            advice = f" Did you mean {nearest}?" if nearest else ""
            _log.warning("%s is not a setting, and has no effect.%s", name, advice)
        engine = make_engine(
            settings.engine,
            cache_dir=settings.engine_dir,
            models_dir=settings.models_dir,
            serving_bytes=settings.serve_memory_bytes,
            computes=settings.launcher == "local" or not settings.serve_urls,
        )
        listening = _listen(arguments.host, arguments.port)
        store = Store(settings.data_dir)
        lock = _lock(settings.data_dir)
        store.create_tables()
        storage = Storage(settings.storage_url)
        sweep(store, storage)
        launcher = make_launcher(settings)
        tokens = AttemptTokens(settings.data_dir)
        engine.prepare()
        weights = WeightsCache(storage, settings.data_dir / "cache", max_bytes=settings.cache_bytes)
        publisher = _publisher(settings, store, weights)
    except (OSError, ValueError, Refused) as error:
        _log.error("cannot start: %s", error)
        return 2
    if not settings.api_key:
        _log.warning("TRAINER_API_KEY is not set: every caller is admitted")
    config = uvicorn.Config(
        create_app(settings, store, storage, engine, Serving(engine, weights), tokens, publisher),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    _log.info("serving on http://%s:%d/v1 from %s", *listening.getsockname()[:2], settings.data_dir)
    stopping = threading.Event()
    server_url = settings.server_url or _loopback(*listening.getsockname()[:2])
    supervisor = Supervisor(store, storage, settings, launcher, tokens, server_url=server_url)
    supervising = threading.Thread(target=supervisor.run, args=(stopping,), name="supervisor")
    supervising.start()
    publishing = None
    if publisher is not None:
        publishing = threading.Thread(target=publisher.run, args=(stopping,), name="publisher")
        publishing.start()
    signal.signal(signal.SIGTERM, _already_stopping)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        _log.info("interrupted")
    finally:
        stopping.set()
        supervising.join()
        if publishing is not None:
            publishing.join()
        lock.close()
    _log.info("stopped")
    return 0


def _already_stopping(*_: object) -> None:
    """Ignore the signal that uvicorn raises again after its shutdown; `main` is already ending."""


def _publisher(settings: Settings, store: Store, weights: WeightsCache) -> Publisher | None:
    if settings.serve_adapters_dir is None or not settings.serve_urls:
        for job in store.rows("SELECT id FROM jobs WHERE status = 'publishing'"):
            succeed(store, job["id"])
        return None
    servers = Servers(settings.serve_urls, settings.serve_api_key)
    adapters = Adapters(settings.serve_adapters_dir)
    return Publisher(store, weights.folder, servers, adapters, wait_seconds=settings.serve_wait_seconds)


def _loopback(host: str, port: int) -> str:
    """The address of this server for processes on this machine."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


def _make_folder(data_dir: Path) -> None:
    """Create the data directory. OSError, in words, if that is impossible."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{data_dir} cannot be the data directory: {error.strerror}; choose another --data-dir") from None


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket. OSError, in words, if there is none."""
    why = {errno.EADDRINUSE: "another program listens there", errno.EADDRNOTAVAIL: "it is no address of this machine"}
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError:
        raise ValueError(f"--port must be from 0 to 65535, not {port}") from None
    except OSError as error:
        reason = why.get(error.errno or 0, error.strerror)
        raise OSError(f"cannot listen on {host}:{port}: {reason}; choose others by --host and --port") from None


def _lock(data_dir: Path) -> IO[bytes]:
    """Lock the data directory; OSError if another server still holds it after ten seconds."""
    held = (data_dir / "lock").open("wb")
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return held
        except BlockingIOError:
            if time.monotonic() > deadline:
                held.close()
                raise OSError(f"another trainer is using {data_dir}") from None
            time.sleep(0.05)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="An OpenAI-compatible trainer.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 picks a free one, which the log names")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--engine", choices=ENGINES, help="default TRAINER_ENGINE or bytemodel")
    parser.add_argument("--models", type=Path, help="folder of base models; default TRAINER_MODELS_DIR")
    parser.add_argument("--pace", type=float, help="minimum seconds between steps; default TRAINER_PACE_SECONDS or 0")
    return parser.parse_args()
