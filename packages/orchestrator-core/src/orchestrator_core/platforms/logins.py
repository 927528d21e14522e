"""What a program inherits that has to find the service manager of its own user."""

import os

__all__ = ["login_environment"]


def login_environment() -> dict[str, str]:
    """Our own environment; a login through SSH may lack what leads to the user's manager."""
    return {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}", **os.environ}
