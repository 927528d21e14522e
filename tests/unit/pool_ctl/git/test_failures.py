"""Why git failed, in one line and with the exit code of its cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code
from pool_ctl.git.failures import explain, reason_of

WORDS = [
    ("fatal: Unable to create '/x/.git/index.lock': File exists.", Code.CONFLICT, "/x/.git/index"),
    ("fatal: detected dubious ownership in repository at '/x y'", Code.GIT_FAILED, "--add safe"),
    ("fatal: unsafe repository ('/x' is owned by someone else)", Code.GIT_FAILED, "directory /x"),
    ("fatal: transport 'file' not allowed", Code.GIT_FAILED, "protocol.file.allow decides"),
    ("fatal: transport 'ext' not allowed", Code.GIT_FAILED, "never used"),
    ("error: unable to write file weights.bin\nfatal: Could not reset index file to revision 'x'.",
     Code.DISK_LOW, "weights.bin"),
    ("fatal: sha1 file '/x/.git/index.lock' write error. Out of diskspace", Code.DISK_LOW, "free"),
    ("error: unable to write file x: Permission denied", Code.GIT_FAILED, "Permission denied"),
    ("error: unable to create file x: File name too long\nfatal: Could not reset index file to "
     "revision 'x'.", Code.GIT_FAILED, "File name too long"),
    ("fatal: Could not reset index file to revision 'x'.", Code.GIT_FAILED, "Could not reset"),
    ("error: Entry 'a $(b)' not uptodate. Cannot merge.", Code.CONFLICT, "worktree -- 'a $(b)'"),
    ("error: Your local changes to the following files would be overwritten by checkout:\n\ta\n"
     "fatal: Unable to checkout '1' in submodule path 'in/x'", Code.CONFLICT, "files in in/x would"),
    ("fatal: Unable to find current revision in submodule path 'x'", Code.CONFLICT, "git switch"),
    ("fatal: Unable to find refs/remotes/origin/b revision in submodule path 'x'",
     Code.NOT_FOUND, "that .gitmodules names"),
    ("fatal: not a git repository: /x/y/../.git/modules/y", Code.GIT_FAILED, "move the one that"),
    ("error: write failed: No space left on device", Code.DISK_LOW, "free some space"),
    ("fatal: remote error: upload-pack: not our ref abc", Code.GIT_FAILED, "never pushed"),
    ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
     Code.BAD_KEY, "Permission denied (publickey)"),
    ("fatal: could not read Username for 'https://h.example': terminal prompts disabled",
     Code.BAD_KEY, "credential helper"),
    ("remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h.example/'",
     Code.BAD_KEY, "Access denied"),
    ("fatal: unable to access 'https://h.example/': The requested URL returned error: 403",
     Code.BAD_KEY, "403"),
    ("Host key verification failed.\nfatal: Could not read from remote repository.",
     Code.BAD_KEY, "accept its key"),
    ("fatal: repository 'https://h.example/x/' not found", Code.NOT_FOUND, "not found"),
    ("ERROR: Repository not found.\nfatal: Could not read from remote repository.",
     Code.NOT_FOUND, "Repository not found"),
    ("fatal: unable to access 'https://h.example/': Could not resolve host: h.example",
     Code.UNREACHABLE, "Could not resolve host"),
    ("ssh: connect to host h.example port 22: Connection refused", Code.UNREACHABLE, "refused"),
    ("fatal: '/gone.git' does not appear to be a git repository", Code.UNREACHABLE, "/gone.git"),
    ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", Code.UNREACHABLE, "RPC"),
    ("error: Your local changes to the following files would be overwritten by checkout:\n\ta\n\tb"
     "\nPlease commit", Code.CONFLICT, "overwritten: a, b; move"),
    ("warning: x\nfatal: refusing to merge unrelated histories", Code.GIT_FAILED, "unrelated"),
    ("", Code.GIT_FAILED, "it gave no reason"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "said"), WORDS, ids=[text[:40] for text, _, _ in WORDS])
def test_every_cause_has_its_code_and_its_advice(text: str, code: Code, said: str) -> None:
    refusal = explain("git fetch", 128, text)
    assert (refusal.code, refusal.message.startswith("git fetch")) == (code, True)
    assert said in refusal.message


def test_an_unknown_failure_keeps_gits_exit_code() -> None:
    assert explain("git x", 7, "fatal: odd").message == "git x ended with exit code 7: odd"
    assert explain("git x", -9, "").message == "git x ended with signal 9: it gave no reason"


@given(st.text())
def test_whatever_git_says_becomes_one_line(text: str) -> None:
    assert explain("git x", 1, text).message.isprintable()
    assert reason_of(text).isprintable()


def test_a_secret_in_a_url_is_not_repeated() -> None:
    text = "fatal: unable to access 'https://ada:s3cret@h.example/': Failed to connect"
    assert "s3cret" not in explain("git fetch", 128, text).message
