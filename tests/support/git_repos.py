"""Real git repositories in a temporary folder: bare remotes, clones, submodules.

They read settings of their own and nothing of the machine. Local paths are allowed as remotes of
submodules there, because a test allows them; the product never does.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from pool_ctl.main import cli

__all__ = ["GitWorld", "must"]

_SETTINGS = """\
[user]
    name = Ada
    email = ada@localhost
[init]
    defaultBranch = main
[gc]
    auto = 0
[maintenance]
    auto = false
[commit]
    gpgSign = false
[protocol "file"]
    allow = always
"""
_FOREIGN = ("GIT_", "LLORCH_", "SSH_")


class GitWorld:
    """Everything lies below one folder; `pool` runs llorch-pool git on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "gitconfig"
        self.settings.write_text(_SETTINGS)
        self.env = {name: it for name, it in os.environ.items() if not name.startswith(_FOREIGN)}
        self.env |= {
            "HOME": str(folder),
            "LLORCH_HOME": str(folder / "llorch"),
            "GIT_CONFIG_GLOBAL": str(self.settings),
            "GIT_CONFIG_NOSYSTEM": "1",
            "NO_COLOR": "1",
        }

    def git(self, folder: Path, *words: str, code: int = 0) -> str:
        """Run git as the user of this world would."""
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"git {words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def remote(self, name: str) -> Path:
        """A bare repository with one commit on main."""
        bare = self.folder / f"{name}.git"
        self.git(self.folder, "init", "--quiet", "--bare", str(bare))
        self.publish(bare, "README", f"{name}\n")
        return bare

    def publish(
        self, bare: Path, file: str, text: str, *, branch: str = "main", amend: bool = False
    ) -> str:
        """Put a commit on a branch of a remote, as somebody else would."""
        work = self.folder / f"somebody-{bare.stem}"
        if not work.exists():
            self.git(self.folder, "clone", "--quiet", str(bare), str(work))
        known = self.git(work, "branch", "--list", branch)
        self.git(work, "switch", "--quiet", *([] if known else ["--create"]), branch)
        commit = self.commit(work, file, text, amend=amend)
        self.git(work, "push", "--quiet", "--force", "origin", branch)
        return commit

    def clone(self, bare: Path, name: str = "mine") -> Path:
        """The user's own checkout, with its submodules."""
        work = self.folder / name
        self.git(self.folder, "clone", "--quiet", "--recurse-submodules", str(bare), str(work))
        return work

    def commit(self, work: Path, file: str, text: str, *, amend: bool = False) -> str:
        """Change a file and commit everything."""
        path = work / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.git(work, "add", "--all")
        self.git(work, "commit", "--quiet", "--message", f"Set {file}", *["--amend"] * amend)
        return self.head(work)

    def add_submodule(self, bare: Path, inner: Path, path: str) -> None:
        """Let a remote record a submodule on main."""
        work = self.folder / f"somebody-{bare.stem}"
        self.git(work, "submodule", "--quiet", "add", "--", str(inner), path)
        self.git(work, "commit", "--quiet", "--message", f"Add {path}")
        self.git(work, "push", "--quiet", "origin", "main")

    def record_newest(self, bare: Path, path: str) -> str:
        """Let a remote record the newest commit of its submodule."""
        work = self.folder / f"somebody-{bare.stem}"
        self.git(work, "submodule", "--quiet", "update", "--init", "--remote", "--", path)
        self.git(work, "commit", "--quiet", "--all", "--message", f"Bump {path}")
        self.git(work, "push", "--quiet", "origin", "main")
        return self.head(work / path)

    def head(self, work: Path) -> str:
        """The commit that is checked out."""
        return self.git(work, "rev-parse", "HEAD")

    def pool(self, *args: str, at: Path | None = None, **env: str) -> Result:
        """Run llorch-pool git in this process, in a folder, without a terminal."""
        with contextlib.chdir(at or self.folder):
            return CliRunner().invoke(cli, ["git", *args], env=self._whole(env))

    def _whole(self, env: dict[str, str]) -> dict[str, str | None]:
        absent = dict.fromkeys(name for name in os.environ if name.startswith(_FOREIGN))
        return {**absent, **self.env, **env}


def must(result: Result, code: int = 0) -> Result:
    """Fail with everything the command said unless it ended with this code."""
    assert result.exit_code == code, f"{result.exit_code}\n{result.stdout}\n{result.stderr}"
    return result
