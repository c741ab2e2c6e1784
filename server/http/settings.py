"""Settings of connections: how many there may be, and how slow a client may be."""

from pydantic import BaseModel, Field

from index.numbers import Integer, Number


class ConnectionSettings(BaseModel, extra="forbid"):
    """Bounds that keep idle and slow clients from shutting out the others."""

    limit: Integer | None = Field(None, ge=1)
    """Most connections at once; by default, as many as the process's file descriptors allow."""
    header_timeout_s: Number = Field(20, gt=0)
    """Seconds in which the head of a request must be complete, on a new or a kept connection."""
    body_timeout_s: Number = Field(30, gt=0)
    """Seconds over which the rate of a request's body, and of reading the response, is measured."""
    body_bytes_per_s: Integer = Field(500, ge=1)
    """Lowest rate of both. An upload may take hours at a higher one."""
