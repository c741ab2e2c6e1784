"""Runs vLLM in this process: started on first use, shared by all callers, shut down in order.

Policies and judges use it. Its failures are EngineErrors, like those of a server.
"""

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.engines.errors import EngineError
from agent.tokenizer import TextTokenizer, text_tokenizer

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class VLLMEngine:
    """Runs `model`: a folder, or a name on the Hugging Face hub.

    `engine_args` are vLLM's AsyncEngineArgs. Starting takes at least half a minute. The engine spawns
    processes of its own, so a program that uses it has to guard its main part with
    `if __name__ == "__main__"`. Use each object in one event loop only.
    """

    def __init__(self, model: str, engine_args: Mapping[str, Any] | None = None) -> None:
        self.name = Path(model).name or model
        self._args: dict[str, Any] = {"enable_prefix_caching": True, **(engine_args or {}), "model": model}
        self._engine: AsyncLLM | None = None
        self._starting: asyncio.Task[None] | None = None

    async def write(self, ids: list[int], **sampling: Any) -> AsyncGenerator[Any, None]:
        """Continue the tokens `ids`. Yields vLLM's CompletionOutputs, each with only the new text and tokens.

        `sampling` are arguments of vLLM's SamplingParams. Closing the generator aborts the request. Raises
        EngineError.
        """
        async with aclosing(self._outputs(ids, sampling)) as outputs:
            async for output in outputs:
                part = output.outputs[0]
                if part.finish_reason not in (None, "stop", "length"):
                    why = f"{self.name} ended the text: {part.finish_reason!r}"
                    raise EngineError("broken_stream", why)
                yield part

    async def log_probabilities(self, ids: list[int]) -> list[float]:
        """The log-probability of each token of `ids` after those before it; of the first there is none.

        Raises EngineError.
        """
        found: dict[int, Any] = {}
        async with aclosing(self._outputs(ids, {"max_tokens": 1, "prompt_logprobs": 1})) as outputs:
            async for output in outputs:
                found |= dict(enumerate(output.prompt_logprobs or ()))
        return [float(found[place][ids[place]].logprob) for place in range(1, len(ids))]

    async def _outputs(self, ids: list[int], sampling: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """vLLM's RequestOutputs. Raises EngineError."""
        engine = await self.started()
        from vllm import SamplingParams, TokensPrompt
        from vllm.exceptions import VLLMClientError, VLLMError
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            parameters = SamplingParams(output_kind=RequestOutputKind.DELTA, **sampling)
            request = engine.generate(TokensPrompt(prompt_token_ids=ids), parameters, uuid.uuid4().hex)
            async with aclosing(request) as outputs:
                async for output in outputs:
                    yield output
        except EngineDeadError:
            await self._end(engine)
            why = f"the engine of {self.name} died; see its log. The next question restarts it"
            raise EngineError("unavailable", why) from None
        except (VLLMClientError, ValueError):
            raise EngineError("refused", f"{self.name} refused the request; see its log") from None
        except VLLMError:
            raise EngineError("broken_stream", f"{self.name} broke off; see its log") from None

    async def context(self) -> int:
        """The model's context length in tokens. Raises EngineError."""
        return int((await self.started()).model_config.max_model_len)

    async def tokenizer(self) -> Any:
        """The model's tokenizer, from transformers. Raises EngineError."""
        return (await self.started()).get_tokenizer()

    async def text_tokenizer(self) -> TextTokenizer:
        """The model's tokenizer for texts, whose tokens are never control tokens. Raises EngineError."""
        return await asyncio.to_thread(text_tokenizer, await self.tokenizer())

    async def started(self) -> "AsyncLLM":
        """vLLM's engine, once it is ready. Raises EngineError."""
        if self._engine is None:
            if self._starting is None or self._starting.done():
                # In a thread, so that the server can meanwhile report that it is not ready.
                self._starting = asyncio.create_task(asyncio.to_thread(self._start))
            # A caller that gives up at its deadline must not stop it: the next one would start it again.
            await asyncio.shield(self._starting)
        return self._engine

    async def aclose(self) -> None:
        """Stop the engine's processes."""
        if self._starting is not None:
            # An engine that is still starting would be left running.
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._engine is not None:
            await self._end(self._engine)

    async def _end(self, engine: "AsyncLLM") -> None:
        is_ours = self._engine is engine
        if is_ours:
            self._engine = None
            await asyncio.to_thread(engine.shutdown)
            # Let its last task end, then free it: at interpreter exit, its finalizer would complain.
            await asyncio.sleep(0.1)
            del engine
            gc.collect()

    def _start(self) -> None:
        # FAISS and PyTorch have started threads, with which a fork hangs. Standard output is the program's.
        os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise EngineError("unavailable", f"vLLM is missing ({error}): pip install 'pr2[vllm]'") from None
        try:
            # Not returned by the thread, whose result would keep the engine alive after its end.
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._args))
        except Exception as error:
            # Any cause: an unknown model, too little memory, an invalid argument.
            raise EngineError(
                "unavailable", f"vLLM cannot start with {self._args['model']}: {error}"
            ) from error
