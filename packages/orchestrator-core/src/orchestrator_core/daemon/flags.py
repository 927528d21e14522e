"""The command line that every daemon shares; light, so that --help answers at once."""

import argparse
from pathlib import Path
from typing import Final

__all__ = ["daemon_parser", "given_flags"]

_NO_SETTINGS: Final = ("config", "show_config")


def daemon_parser(
    name: str, *, description: str, epilog: str, version: str, default_bind: str, config_file: str
) -> argparse.ArgumentParser:
    """Make a parser with the flags that all daemons have; a daemon adds its own."""
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--bind", metavar="HOST:PORT", help=f"address of the API (default: {default_bind})"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file (default: {config_file})"
    )
    parser.add_argument(
        "--insecure-lan",
        action="store_true",
        default=None,
        help="listen on an address of the network although the API speaks plain HTTP",
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="check all settings, print them and where each comes from as JSON, and end",
    )
    parser.add_argument("--version", action="version", version=f"{name} {version}")
    return parser


def given_flags(flags: argparse.Namespace) -> dict[str, object]:
    """The flags that are settings; None means that a flag was not given."""
    return {name: value for name, value in vars(flags).items() if name not in _NO_SETTINGS}
