"""The text of the scripts that the steps of an enrolment run on a host; pure.

Each is for `sh -s`, can run twice, and either ends with status 0 or says on stderr why not. A file
is replaced as a whole, and a release counts only when its mark is there.
"""

from collections.abc import Sequence
from typing import Final

from llorch_ctl.enrolment.plan import Installer
from llorch_ctl.enrolment.shell_text import quoted, words

__all__ = [
    "COMPLETE",
    "end_strays",
    "install",
    "linger",
    "list_digests",
    "make_folders",
    "put_file",
    "remove_suite",
    "restart_service",
    "self_test",
    "service_state",
    "sizes",
    "switch",
    "take_file",
    "tidy",
    "unpack",
]

COMPLETE: Final = ".complete"
"""The mark of a release whose self-test has passed."""

_HEAD: Final = "set -eu\numask 077\nLC_ALL=C; export LC_ALL\n"
_HOUSE: Final = "releases wheels tools"
_TURN_S: Final = 900
_FILE_MAX_BYTES: Final = 65_536

# What each installed program needs before it can say why it fails.
_IMPORTS: Final = (
    "import click, fastapi, httptools, httpx, psutil, pydantic, rich, structlog, uvicorn, yaml, "
    "pool_managerd.main, pool_ctl.main, llorch_worker.main"
)


def make_folders(root: str) -> str:
    """Make the folders of the suite; others may look in, as with any program."""
    folders = " ".join(f"{quoted(root)}/{name}" for name in _HOUSE.split())
    return f"{_HEAD}umask 022\nmkdir -p {folders}\n"


def list_digests(root: str) -> str:
    """Print digest and name of every file that was sent before."""
    return (
        f"{_HEAD}cd {quoted(root)}\n"
        'sum() { if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; '
        'else shasum -a 256 "$@"; fi; }\n'
        'for file in wheels/*.whl tools/uv-*; do [ -f "$file" ] && sum "$file"; done\nexit 0\n'
    )


def unpack(root: str) -> str:
    """Open the parcel that was sent and put it away."""
    return (
        f"{_HEAD}umask 022\ncd {quoted(root)}\n"
        # A disk that was too small for it must not stay full of it.
        "tar -xof tools/parcel.tar || { rm -f tools/parcel.tar; exit 1; }\nrm -f tools/parcel.tar\n"
    )


def install(
    root: str,
    release: str,
    *,
    installer: Installer,
    program: str,
    python: str,
    suite: Sequence[str],
    third_party: Sequence[str],
    requirements: str,
    from_index: bool,
) -> str:
    """Make the virtual environment of a release, unless it is complete already.

    The suite's own packages are only ever installed from the files that were sent: no index is
    asked for their names, so none can put others in their place.
    """
    target = f"{root}/releases/{release}"
    own = words(*(f"{root}/wheels/{name}" for name in suite))
    others = words(*(f"{root}/wheels/{name}" for name in third_party))
    pinned = "" if third_party else f"printf '%s' {quoted(requirements)} >requirements.txt\n"
    if installer is Installer.VENV:
        lines = _by_pip(python, own, others)
    else:
        lines = _by_uv(program, python, own, others, from_index=from_index)
    return (
        f"{_HEAD}umask 022\n{_alone(root)}"
        f"[ ! -f {quoted(target)}/{COMPLETE} ] || exit 0\n"
        f"rm -rf {quoted(target)}\nmkdir -p {quoted(target)}\ncd {quoted(target)}\n"
        f"{pinned}{lines}"
    )


def _alone(root: str) -> str:
    """One installer at a time, with a place of its own for what it needs meanwhile.

    A command that was killed leaves its installer running here: two would ruin one release.
    """
    place = quoted(f"{root}/tools/installing")
    return (
        f"mkdir -p {place}\nif command -v flock >/dev/null 2>&1; then\n"
        f"exec 9>{place}.lock\n"
        f"flock -w {_TURN_S} 9 || "
        "{ echo 'another command is installing there: try again later' >&2; exit 1; }\nfi\n"
        # On the same disk as the release, wheels are linked into it instead of copied; and the
        # host's own place may be tiny, or forbid programs.
        f"rm -rf {place}\nmkdir -p {place}\ntrap 'rm -rf '{quoted(place)} EXIT\n"
        f"TMPDIR={place}; export TMPDIR\n"
        "unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_TARGET PIP_PREFIX\n"
        "PIP_USER=0; export PIP_USER\n"
    )


def _by_uv(program: str, python: str, own: str, others: str, *, from_index: bool) -> str:
    uv = quoted(program)
    install_one = f"{uv} pip install --quiet --python bin/python --no-deps"
    closed = "--offline --no-config --no-cache --no-index"
    fetched = "" if from_index else "--offline --no-config --no-cache --no-python-downloads "
    third = (
        f"{install_one} {closed} {others}"
        if others
        else f"{install_one} --require-hashes --only-binary :all: -r requirements.txt"
    )
    return (
        # uv refuses a folder that holds something; what the release holds so far is ours.
        f"{uv} venv --quiet --allow-existing {fetched}--python {quoted(python)} . </dev/null\n"
        f"{third} </dev/null\n"
        f"{install_one} {closed} {own} </dev/null\n"
    )


def _by_pip(python: str, own: str, others: str) -> str:
    pip = (
        "bin/python -I -m pip --disable-pip-version-check --no-input install --quiet "
        "--no-warn-script-location --no-compile --no-deps"
    )
    third = (
        f"{pip} --no-index {others}"
        if others
        else f"{pip} --require-hashes --only-binary :all: -r requirements.txt"
    )
    return (
        f"{quoted(python)} -m venv . </dev/null\n"
        f"{third} </dev/null\n"
        f"{pip} --no-index {own} </dev/null\n"
    )


def self_test(root: str, release: str, version: str) -> str:
    """Start the new programs without touching anything; only then the release counts."""
    target = quoted(f"{root}/releases/{release}")
    return (
        f"{_HEAD}umask 022\ncd {target}\n"
        # What fails here is made anew by the next command, whatever it was before.
        f"trap '[ $? -eq 0 ] || rm -f {COMPLETE}' EXIT\n"
        f"bin/python -I -c {quoted(_IMPORTS)} </dev/null\n"
        "found=$(bin/llorch-pool --version </dev/null)\n"
        f'case "$found" in *" {version}") ;; *) '
        'echo "llorch-pool says: $found" >&2; exit 1 ;; esac\n'
        f": >{COMPLETE}\n"
    )


def switch(root: str, release: str) -> str:
    """Let current be this release in one rename, and print what it was before."""
    # mv follows a link to a folder: only rename(2) replaces the link itself.
    renamed = "import os, sys; os.replace(sys.argv[1], sys.argv[2])"
    return (
        f"{_HEAD}cd {quoted(root)}\n"
        "readlink current 2>/dev/null || :\n"
        f"rm -f .current.new\nln -s {quoted(f'releases/{release}')} .current.new\n"
        f"releases/{release}/bin/python -I -c {quoted(renamed)} .current.new current </dev/null\n"
    )


def tidy(root: str, keep: Sequence[str], wheels: Sequence[str]) -> str:
    """Remove the releases and wheels that nothing needs; a worker may outlive its release."""
    kept = "|".join(quoted(name) for name in (*keep, *wheels))
    return (
        f"{_HEAD}cd {quoted(root)}\n"
        "running=$(ps axww -o args 2>/dev/null || cat /proc/[0-9]*/cmdline 2>/dev/null | "
        "tr '\\0' ' ' || :)\n"
        'for item in releases/* wheels/*; do\n[ -e "$item" ] || continue\n'
        f'case "${{item##*/}}" in {kept}) continue ;; esac\n'
        'case "$running" in *"$item/"*) continue ;; esac\n'
        'rm -rf "$item"\ndone\n'
    )


def put_file(path: str, text: str, *, mode: str = "0600") -> str:
    """Write a small text file as a whole; a link to it stays a link."""
    folder = path.rpartition("/")[0]
    return (
        f"{_HEAD}mkdir -p {quoted(folder)}\n"
        f"target=$(readlink -f {quoted(path)} 2>/dev/null) || target={quoted(path)}\n"
        f"printf '%s' {quoted(text)} >\"$target.llorch-new\" || "
        "{ rm -f \"$target.llorch-new\"; echo 'it could not be written: is the disk full?' >&2; "
        "exit 1; }\n"
        f'chmod {mode} "$target.llorch-new"\nmv -f "$target.llorch-new" "$target"\n'
    )


def take_file(path: str) -> str:
    """Print a small text file; one that is not there is empty."""
    file = quoted(path)
    return (
        f"{_HEAD}[ -f {file} ] || exit 0\n"
        # What was read in part would be written back in part.
        f'[ "$(wc -c <{file})" -le {_FILE_MAX_BYTES} ] || '
        f"{{ echo 'it is larger than {_FILE_MAX_BYTES} bytes' >&2; exit 1; }}\n"
        f"cat {file}\n"
    )


def linger(user: str) -> str:
    """Let the user's services run without a login."""
    return (
        f"{_HEAD}loginctl enable-linger {quoted(user)} </dev/null || "
        f"sudo -n loginctl enable-linger {quoted(user)} </dev/null\n"
    )


def service_state() -> str:
    """Print how the host's service manager sees the daemon: one line per scope."""
    return (
        "LC_ALL=C; export LC_ALL\n"
        'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; export XDG_RUNTIME_DIR\n'
        "unit=pool-managerd.service\n"
        "if [ -d /run/systemd/system ]; then\n"
        "for scope in --user --system; do\n"
        'printf "%s=%s\\n" "${scope#--}" '
        '"$(systemctl $scope is-enabled $unit 2>/dev/null </dev/null)"\n'
        "done\nfi\nexit 0\n"
    )


def restart_service(scope: str) -> str:
    """Let the service manager start the daemon anew, from the release that is current now."""
    return (
        f"{_HEAD}"
        'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; export XDG_RUNTIME_DIR\n'
        "if [ -d /run/systemd/system ]; then\n"
        f"systemctl {scope} restart pool-managerd.service </dev/null\nfi\n"
    )


def sizes(root: str, models: str) -> str:
    """Print in KiB what the suite and the models take."""
    return (
        f"{_HEAD}"
        "kib() { du -sk \"$@\" 2>/dev/null | awk '{sum += $1} END {print sum + 0}'; }\n"
        f"cd {quoted(root)} 2>/dev/null || {{ echo 0; echo 0; exit 0; }}\n"
        f"kib {_HOUSE}\nkib {quoted(models)}\n"
    )


def end_strays(root: str) -> str:
    """End what still runs from the releases: an installation that is broken cannot stop itself."""
    return (
        f"{_HEAD}command -v ps >/dev/null 2>&1 || exit 0\n"
        f"PLACE={quoted(f'{root}/releases/')}; export PLACE\n"
        # Only programs of the releases themselves: a path may stand in the words of any other.
        "strays() { ps axww -o pid= -o args= | awk "
        '\'{pid = $1; sub(/^ *[0-9]+ +/, "")} index($0, ENVIRON["PLACE"]) == 1 {print pid}\'; }\n'
        "for signal in TERM KILL; do\n"
        'found=$(strays)\n[ -n "$found" ] || exit 0\n'
        "kill -s $signal $found 2>/dev/null || :\n"
        'for second in 1 2 3 4 5 6 7 8 9 10; do [ -n "$(strays)" ] || exit 0; sleep 1; done\n'
        "done\necho 'programs of the release do not end' >&2; exit 1\n"
    )


def remove_suite(root: str, paths: Sequence[str], above: Sequence[str], models: str | None) -> str:
    """Remove what the enrolment made, and name what stays; models only go when they are named."""
    own = [f"{root}/{name}" for name in ("current", *_HOUSE.split())]
    gone = [*own, *paths, *([models] if models else [])]
    # The inner folders first: what others still use is not empty and stays.
    ours = sorted({root, *(path.rpartition("/")[0] for path in paths)}, key=len, reverse=True)
    around = sorted(set(above), key=len, reverse=True)
    return (
        f"{_HEAD}rm -rf {words(*gone)}\nrmdir {words(*ours)} 2>/dev/null || :\n"
        f"rmdir {words(*around)} 2>/dev/null || :\n"
        f"for item in {' '.join(f'{quoted(folder)}/*' for folder in ours)}; do\n"
        '[ -e "$item" ] && printf \'%s\\n\' "$item"\ndone\nexit 0\n'
    )
