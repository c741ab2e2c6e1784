"""File descriptors: a connection takes one, and so does much else that a process cannot do without."""

import resource

ACCEPTED = 32
"""Connections accepted at a time, before any of them is looked at. Each holds a descriptor meanwhile."""
RESERVED = 192
"""Descriptors kept for the database's threads, temporary files and two rounds of accepting."""
MOST = 10_000
"""Bound on the default limit of connections: each takes some 20 KB."""


class TooFewDescriptors(ValueError):
    """The process may open fewer files than a setting needs; the message says how many."""


def open_files() -> int:
    """Most files that this process may have open; RLIM_INFINITY if there is no bound."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connection_limit(wanted: int | None, answers: int, descriptors: int) -> int:
    """Most connections at once: `wanted`, or as many as the process's `descriptors` allow.

    Each of the `answers` in progress may hold a connection to the engine. Raises TooFewDescriptors.
    """
    if descriptors == resource.RLIM_INFINITY:
        return wanted or MOST
    available = max(descriptors - RESERVED - answers, descriptors // 4)
    if wanted is not None and wanted > available:
        raise TooFewDescriptors(
            f"connections.limit is {wanted}, and {descriptors} file descriptors leave {available} for "
            "connections; lower it, or raise the limit on open files (ulimit -n)"
        )
    return wanted or min(available, MOST)
