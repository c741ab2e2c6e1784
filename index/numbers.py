"""Numbers in requests and settings. Python takes `true` for 1 and `false` for 0; here they are refused."""

from typing import Annotated, Any

from pydantic import BeforeValidator


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"Input should be a number, not {str(value).lower()}")
    return value


Integer = Annotated[int, BeforeValidator(_no_truth_value)]
Number = Annotated[float, BeforeValidator(_no_truth_value)]
