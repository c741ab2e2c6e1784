"""Two real engines with the same tiny model: a vLLM server, and vLLM in this process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from agent.engines.openai import OpenAIServer
from agent.engines.vllm import VLLMEngine
from agent.policies.tags import TagsPolicy
from agent.policies.vllm import VLLMPolicy
from tests.engines import model

ENGINE = {
    "dtype": "float32",
    "enforce_eager": True,
    "gpu_memory_utilization": 0.1,
    "max_model_len": model.CONTEXT,
}
START_S = 240.0


@dataclass
class Server:
    """A running vLLM server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


@pytest.fixture(scope="session", autouse=True)
def environment() -> None:
    os.environ.update({"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"})


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.make(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory, environment: None) -> Iterator[Server]:
    with serving(model_dir, tmp_path_factory.mktemp("server"), "--enable-log-requests") as running:
        yield running


@contextmanager
def serving(model_dir: Path, folder: Path, *more: str) -> Iterator[Server]:
    """A vLLM server of a model, under the name `tiny`. Its log is in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in ENGINE.items() if value is not True]
    flags += [f"--{name.replace('_', '-')}" for name, value in ENGINE.items() if value is True]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *[sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_dir)],
                *[
                    "--served-model-name",
                    "tiny",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    *more,
                    *flags,
                ],
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not _is_up(url):
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, "the vLLM server takes too long to start"
            time.sleep(0.5)
        yield Server(url, process, log)
    finally:
        process.terminate()
        process.wait(30)


@pytest_asyncio.fixture(loop_scope="session")
async def over_http(server: Server) -> AsyncIterator[TagsPolicy]:
    policy = TagsPolicy(OpenAIServer(f"{server.url}/v1", "tiny"))
    yield policy
    await policy.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def in_process(model_dir: Path, environment: None) -> AsyncIterator[VLLMPolicy]:
    policy = VLLMPolicy(VLLMEngine(str(model_dir), ENGINE))
    await policy.check()
    yield policy
    await policy.aclose()


@pytest.fixture(params=["over_http", "in_process"])
def policy(request: pytest.FixtureRequest) -> TagsPolicy | VLLMPolicy:
    chosen: TagsPolicy | VLLMPolicy = request.getfixturevalue(request.param)
    return chosen


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False
