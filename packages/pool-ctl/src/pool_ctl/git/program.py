"""Calls the git program in one folder: questions give bytes, acts give nothing, failures speak."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal, error_for
from pool_ctl.git.failures import explain, reason_of
from pool_ctl.git.invocation import QUIET_SSH, argv, environment, is_new_enough
from pool_ctl.git.plain import one_line
from pool_ctl.git.processes import Bounds, Ran, run_to_end

__all__ = ["Git"]

_SSH_VARIABLES: Final = ("GIT_SSH_COMMAND", "GIT_SSH")
_NO_END: Final = Bounds(timeout_s=None)
# Long enough for a fetch inside a submodule, of which git shows no progress.
_TRANSFER: Final = Bounds(timeout_s=None, silence_s=1800.0)


class Git:
    """The git program for one folder; the relay gets the progress of transfers, if anyone looks."""

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        relay: Callable[[bytes], None] | None = None,
        *,
        ceiling: Path | None = None,
    ) -> None:
        self.folder = folder
        self._env = env
        self._relay = relay
        self._ceiling = ceiling

    def inside(self, folder: Path) -> "Git":
        """The same program for a folder that must be a checkout itself, not a part of one."""
        return Git(folder, self._env, self._relay, ceiling=folder.parent)

    def check_version(self) -> None:
        """Refuse a git that is missing or too old."""
        ran = self.run("--version")
        if ran.code != 0:
            raise error_for(Refusal(Code.GIT_FAILED, f"git does not work: {reason_of(ran.talk)}"))
        answer = one_line(ran.out.decode("utf-8", "replace"))
        if not is_new_enough(answer):
            raise error_for(Refusal(Code.GIT_FAILED, f"{answer} is too old: 2.30 is the least"))

    def run(self, *words: str) -> Ran:
        """Ask git something that it may answer with a failure."""
        return self._run(words, Bounds())

    def ask(self, *words: str) -> bytes:
        """Ask git something that it can answer."""
        ran = self.run(*words)
        if ran.code != 0:
            raise error_for(explain(_title(words), ran.code, ran.talk))
        return ran.out

    def line(self, *words: str) -> str | None:
        """Ask git for one line; None when it says that there is no such thing."""
        ran = self.run(*words)
        return (
            ran.out.decode("utf-8", "surrogateescape").removesuffix("\n") if not ran.code else None
        )

    def act(self, *words: str) -> None:
        """Let git change something here, for as long as that takes."""
        self._must(words, self._run(words, _NO_END))

    def transfer(self, *words: str) -> None:
        """Let git talk to a remote; people see the progress."""
        extra: dict[str, str] = {}
        own = any(self._env.get(name) for name in _SSH_VARIABLES)
        if not own and self.line("config", "--get", "core.sshCommand") is None:
            extra = {_SSH_VARIABLES[0]: QUIET_SSH}
        self._must(words, self._run(words, _TRANSFER, extra, self._relay))

    def _must(self, words: tuple[str, ...], ran: Ran) -> None:
        if ran.code != 0:
            # Some of git's commands give their reasons on stdout.
            talk = f"{ran.out.decode('utf-8', 'replace')}\n{ran.talk}"
            raise error_for(explain(_title(words), ran.code, talk))

    def _run(
        self,
        words: tuple[str, ...],
        bounds: Bounds,
        extra: Mapping[str, str] | None = None,
        relay: Callable[[bytes], None] | None = None,
    ) -> Ran:
        ceiling = {"GIT_CEILING_DIRECTORIES": str(self._ceiling)} if self._ceiling else {}
        env = environment(self._env, {**ceiling, **(extra or {})})
        return run_to_end(argv(self.folder, words), env, bounds, relay)


def _title(words: tuple[str, ...]) -> str:
    """Name a call of git by its command, and its action where it has one."""
    named = [word for word in words if not word.startswith("-")]
    shown = named[:2] if named[:1] in (["submodule"], ["worktree"]) else named[:1]
    return " ".join(["git", *shown])
