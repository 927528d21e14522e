"""Decides what is an address of a daemon; pure."""

from urllib.parse import urlsplit

__all__ = ["is_url"]


def is_url(text: str) -> bool:
    """Whether a client can call it: http or https, a host, and a port if there is one."""
    try:
        parts = urlsplit(text)
        # The port is read as well, because only reading it shows that it is none.
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # Whatever is no letter (a blank, half a character) would fail much later, inside the client.
    return is_whole and text.isprintable() and " " not in text
