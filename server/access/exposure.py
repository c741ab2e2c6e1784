"""Whether a server may start at an address: what other machines can reach needs names and a token."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the IP address `address`."""
    return ip_address(address.partition("%")[0]).is_loopback


def missing_for(address: str, *, allowed_hosts: Sequence[str], has_token: bool, insecure: bool) -> list[str]:
    """Advice on the settings that a server at this IP address still needs; empty if it needs none.

    `insecure` waives the token, never the names: without them, no other machine's request would be served.
    """
    if is_loopback(address):
        return []
    advice = []
    if not allowed_hosts:
        name = socket.gethostname() if ip_address(address).is_unspecified else address
        shown = f"[{name}]" if ":" in name else name
        advice.append(
            "name the server as its clients do, with a line at the top of pr2.toml: "
            f'allowed_hosts = ["{shown}"]'
        )
    if not (has_token or insecure):
        advice.append("set a token in the environment variable PR2_TOKEN, or let everyone in with --insecure")
    return advice
