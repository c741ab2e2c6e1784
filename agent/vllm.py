"""The policy that runs its model in this process with vLLM, for one machine with a GPU and no second server.

The transcript is carried as token ids, and vLLM's cache of prefixes holds what earlier turns computed.
"""

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.episode import Episode
from agent.policy import STREAM_INTERVAL, Chunk, PolicyError
from agent.tags import STOP
from agent.tokens import make_room, prompt_ids

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class VLLMPolicy:
    """Writes with the model in the folder, or of the name on the hub, `model`.

    `engine_args` are vLLM's own (AsyncEngineArgs). The engine starts when it is first needed, which takes
    from half a minute up; `check` waits for it. It works in processes of its own, which are spawned: a
    program that uses this guards its main part with `if __name__ == "__main__"`.
    """

    def __init__(
        self, model: str, temperature: float = 0.0, engine_args: Mapping[str, Any] | None = None
    ) -> None:
        self.name = f"vllm:{Path(model).name or model}"
        self._args: dict[str, Any] = {"enable_prefix_caching": True, **(engine_args or {}), "model": model}
        self._temperature = temperature
        self._engine: AsyncLLM | None = None
        self._starting: asyncio.Task[None] | None = None

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator aborts the request in the engine."""
        engine = await self._started()
        from vllm import SamplingParams, TokensPrompt
        from vllm.exceptions import VLLMClientError, VLLMError
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        ids: list[int] = []

        async def count() -> int:
            nonlocal ids
            ids = await prompt_ids(episode, self._encode)
            return len(ids)

        room = await make_room(episode, engine.model_config.max_model_len, max_tokens, count)
        if room == 0:
            yield Chunk("", finish="length")
            return
        sampling = SamplingParams(
            temperature=self._temperature,
            max_tokens=room,
            stop=list(STOP),
            include_stop_str_in_output=True,
            output_kind=RequestOutputKind.DELTA,
            stream_interval=STREAM_INTERVAL,
        )
        request = engine.generate(TokensPrompt(prompt_token_ids=ids), sampling, uuid.uuid4().hex)
        try:
            async with aclosing(request) as outputs:
                untold = len(ids)
                async for output in outputs:
                    part = output.outputs[0]
                    sampled = tuple(part.token_ids)
                    match part.finish_reason:
                        case None:
                            yield Chunk(part.text, len(sampled), None, sampled, untold)
                        case "stop":
                            yield Chunk(part.text, len(sampled), "stop", sampled, untold)
                        case "length":
                            yield Chunk(part.text, len(sampled), "length", sampled, untold)
                        case reason:
                            raise PolicyError("broken_stream", f"{self.name} ended the text: {reason!r}")
                    untold = 0
        except EngineDeadError:
            await self._end(engine)
            why = f"the engine of {self.name} has died; see its log. The next question starts it again"
            raise PolicyError("unavailable", why) from None
        except (VLLMClientError, ValueError):
            raise PolicyError("refused", f"{self.name} refused the request; see its log") from None
        except VLLMError:
            raise PolicyError("broken_stream", f"{self.name} broke off; see its log") from None

    async def check(self) -> str:
        """See Policy. Starts the engine and has it write a token."""
        engine = await self._started()
        async with aclosing(self.generate(Episode("?"), 1)) as chunks:
            async for _ in chunks:
                pass
        return f"vLLM in process, context {engine.model_config.max_model_len} tokens, token ids"

    async def aclose(self) -> None:
        """Stop the engine's processes."""
        if self._starting is not None:
            # An engine that is just starting would be left behind.
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._engine is not None:
            await self._end(self._engine)

    async def _end(self, engine: "AsyncLLM") -> None:
        is_ours = self._engine is engine
        if is_ours:
            self._engine = None
            await asyncio.to_thread(engine.shutdown)
            # Its last task ends, and then it goes: at the interpreter's end, its finalizer would complain.
            await asyncio.sleep(0.1)
            del engine
            gc.collect()

    async def _started(self) -> "AsyncLLM":
        if self._engine is None:
            if self._starting is None or self._starting.done():
                # In a thread, so that the server can say meanwhile that it is not ready.
                self._starting = asyncio.create_task(asyncio.to_thread(self._start))
            # Who stops waiting, at a deadline, does not stop it: the next one would start it a second time.
            await asyncio.shield(self._starting)
        return self._engine

    def _start(self) -> None:
        # FAISS and PyTorch have threads by now, and a fork of them hangs. Standard output is the program's.
        os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise PolicyError("unavailable", f"vLLM is missing ({error}): pip install 'pr2[vllm]'") from None
        try:
            # Not handed back by the thread, whose result would outlive the engine's end.
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._args))
        except Exception as error:
            # Whatever stands in its way: no such model, no memory, an argument that it does not know.
            raise PolicyError(
                "unavailable", f"vLLM cannot start with {self._args['model']}: {error}"
            ) from error

    async def _encode(self, text: str, opening: bool) -> list[int]:
        engine = await self._started()
        ids: list[int] = engine.get_tokenizer().encode(text, add_special_tokens=opening)
        return ids
