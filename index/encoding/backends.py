"""Runs the transformer of an encoder: by PyTorch, or compiled for the processor at hand.

Whatever runs it, the vectors are the model's: each backend is compared with PyTorch in float32 when it is
loaded, so that a store written with one can be searched with another.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from index.encoding.options import TORCH
from index.errors import EncoderUnavailable
from index.threads import cores

LEAST_COSINE = 0.999
"""Lowest cosine of a vector to that of PyTorch in float32."""
_PROBES = (
    "What did I plant?",
    "Tomatoes.",
    "I moved to Lisbon in March 2024, and the new flat has a balcony that faces the river. "
    "My neighbour Elena has the keys, and waters the basil when I am away for work. " * 4,
    "Gestern hat Jonas angerufen: Der Zug nach Köln fährt erst um 18:42 Uhr.",
    "我昨天在上海见了李雷。",
    "12.50 EUR; ref. 2024-03-01/4711 #receipt",
)
"""Texts of several lengths, padded to the longest."""


def bfloat16(transformer: Any) -> Any:
    """PyTorch in bfloat16, for processors and GPUs that compute in it. Pooling stays in float32."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    class Bfloat16(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model.to(torch.bfloat16)
            self.config = model.config

        def forward(self, **inputs: Any) -> BaseModelOutput:
            return BaseModelOutput(self.model(**inputs).last_hidden_state.float())

    return Bfloat16(transformer.model)


def openvino(transformer: Any) -> Any:
    """The model compiled by OpenVINO, for processors. It computes in bfloat16 where the processor can."""
    try:
        import openvino as ov
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError:
        raise EncoderUnavailable("the backend openvino is not installed: install pr2[openvino]") from None
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    model = transformer.model
    if model.device.type != "cpu":
        raise EncoderUnavailable("the backend openvino runs on the processor: choose another one for a GPU")
    # Padded, so that the trace keeps the mask.
    features = transformer.preprocess([_PROBES[0], _PROBES[1]])
    example = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(example, inputs, strict=True))).last_hidden_state

    # Not openvino.convert_model, which reports its use to the vendor.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), _quiet():
        # Of branches that do not depend on the texts; run_by compares the vectors.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(Traced().eval(), example_input=tuple(example.values()))
    graph = frontend.convert(frontend.load(decoder))
    graph.reshape({port: ov.PartialShape([-1, -1]) for port in graph.inputs})
    compiled = ov.Core().compile_model(
        graph, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": cores()}
    )

    class Compiled(torch.nn.Module):
        config = model.config

        def __init__(self) -> None:
            super().__init__()
            # sentence-transformers finds the device by the parameters.
            self.place = torch.nn.Parameter(torch.empty(0), requires_grad=False)

        def forward(self, **inputs: Any) -> BaseModelOutput:
            found = compiled([inputs[name].numpy() for name in example])[0]
            return BaseModelOutput(torch.from_numpy(np.asarray(found)))

    return Compiled()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of transformers: tracing reads every property of a model, also those that complain."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


BACKENDS: Mapping[str, Callable[[Any], Any]] = {"bfloat16": bfloat16, "openvino": openvino}
"""Functions that take the Transformer module of a model, and return what replaces its `model`."""


def run_by(backend: str, model: Any) -> None:
    """Let a backend run a model of sentence-transformers, in place of PyTorch in float32.

    Raises EncoderUnavailable if the backend is unknown, is not installed or gives other vectors.
    """
    make = BACKENDS.get(backend)
    if make is None:
        known = ", ".join([TORCH, *BACKENDS])
        raise EncoderUnavailable(f"there is no encoder backend {backend!r}; there are {known}")
    texts = list(_PROBES)
    expected = model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    model[0].model = make(model[0])
    found = model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    least = float(cosines(expected, found).min())
    if not least >= LEAST_COSINE:
        raise EncoderUnavailable(
            f"the backend {backend} gives other vectors on this machine: a cosine of {least:.4f} to those of "
            f"torch, at least {LEAST_COSINE} is needed"
        )


def cosines(one: Any, other: Any) -> Any:
    """Return the cosines of corresponding rows, shape (rows,)."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.einsum("ij,ij->i", one, other) / lengths
