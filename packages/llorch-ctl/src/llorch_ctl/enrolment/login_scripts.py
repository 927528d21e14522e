"""The text of the scripts that let a key in at a host and shut it out again; pure.

A host whose authorized_keys is damaged is lost to its owner. So the file is written beside, what
was written is counted, and only a whole file takes the place of the old one.
"""

from typing import Final

from llorch_ctl.enrolment.shell_text import quoted

__all__ = ["authorize", "deauthorize"]

_HEAD: Final = "set -eu\numask 077\nLC_ALL=C; export LC_ALL\n"

# awk takes the mark from the environment, as it is; grep would end quietly at a byte it dislikes.
_OTHERS: Final = 'index($0, ENVIRON["MARK"]) == 0 && index($0, ENVIRON["ALSO"]) == 0'

# A link stays a link: many keep their files in a folder of their own.
_OPENED: Final = (
    'target=$(readlink -f "$keys" 2>/dev/null) || target=$keys\n'
    "draft=$target.llorch-new\ntrap 'rm -f \"$draft\"' EXIT\n"
    f"kept=$(awk '{_OTHERS} {{n++}} END {{print n + 0}}' \"$target\")\n"
    f'awk \'{_OTHERS} {{print}}\' "$target" >"$draft"\n'
)

_CLOSED: Final = (
    'if [ "$(awk \'END {print NR}\' "$draft")" -ne "$kept" ]; then\n'
    'echo "$keys could not be written whole: is the disk full?" >&2; exit 1\nfi\n'
    'cmp -s "$draft" "$target" && exit 0\n'
    # After a power cut the name must not lead to an empty file.
    'sync "$draft" 2>/dev/null || :\nmv -f "$draft" "$target"\n'
)


def authorize(home: str, line: str, blob: str) -> str:
    """Let one key in, in place of any earlier line with the same key."""
    return (
        f"{_keys_of(home, blob, blob)}mkdir -p {quoted(f'{home}/.ssh')}\n"
        '[ -f "$keys" ] || : >"$keys"\n'
        f"{_OPENED}"
        f"printf '%s\\n' {quoted(line)} >>\"$draft\"\nkept=$((kept + 1))\n"
        f"{_CLOSED}"
    )


def deauthorize(home: str, program: str, blob: str | None) -> str:
    """Take our lines out again: those of this key, and all that run this llorch-pool."""
    mark = f"'{program}' remote-exec"
    return f'{_keys_of(home, mark, blob or mark)}[ -f "$keys" ] || exit 0\n{_OPENED}{_CLOSED}'


def _keys_of(home: str, mark: str, also: str) -> str:
    return (
        f"{_HEAD}MARK={quoted(mark)}; ALSO={quoted(also)}; export MARK ALSO\n"
        f"keys={quoted(f'{home}/.ssh/authorized_keys')}\n"
    )
