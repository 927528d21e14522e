"""What the no of a hub means, and the next step for a person: a pure table of status and code.

The hub's own words are not passed on: they are text from outside, and they know nothing of us.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = [
    "Question",
    "is_for_people",
    "kept_away",
    "offline",
    "page_for_people",
    "refusal_of",
    "retry_after_s",
    "unreachable",
]

_RETRY_MAX_S: Final = 3600
_BAD_TOKEN: Final = "invalid credentials"  # noqa: S105 - the hub's words for it, not a token
_HINT: Final = "check HF_ENDPOINT and the proxy variables"
_OFFLINE: Final = "HF_HUB_OFFLINE=1"
_SHOWN_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Question:
    """What the hub was asked; has_token says whether a token went along."""

    endpoint: str
    repo: str
    revision: str | None = None
    file: str | None = None
    has_token: bool = False

    @property
    def place(self) -> str:
        """The hub without its scheme."""
        return self.endpoint.partition("://")[2]


def refusal_of(status: int, headers: Mapping[str, str], asked: Question) -> Refusal | None:
    """Why an answer is a no; None for an answer that is none. Header names are lower case."""
    if status < 300:
        return None
    if status == 429:
        return _too_many(headers, asked)
    if status >= 500 or status == 408:
        text = (
            f"the hub {asked.place} answered {status}: it has trouble of its own; try again later"
        )
        return Refusal(Code.UNREACHABLE, text, {"status": status}, retry_after_s(headers))
    named = _BY_CODE.get(headers.get("x-error-code", ""))
    if named is not None:
        return named(asked)
    if status == 401:
        has_bad_token = _BAD_TOKEN in headers.get("x-error-message", "").lower()
        return _bad_token(asked) if has_bad_token or asked.has_token else _no_repository(asked)
    if status == 403:
        return _forbidden(asked)
    if status in (404, 410):
        return _no_repository(asked) if asked.file is None else _no_file(asked)
    text = f"{asked.place} answered {status}, which no hub does here; {_HINT}"
    return Refusal(Code.INTERNAL, text, {"status": status})


def is_for_people(headers: Mapping[str, str]) -> bool:
    """True for a page such as that of a network which first wants a login."""
    return headers.get("content-type", "").lower().startswith("text/html")


def page_for_people(asked: Question) -> Refusal:
    """Somebody answered in the name of the hub."""
    text = f"{asked.place} answered with a page for people: does this network want a login?"
    return Refusal(Code.UNREACHABLE, text, {"repo": asked.repo})


def kept_away(status: int, asked: Question) -> Refusal:
    """The hub gave us a link to the file, but whoever keeps it does not hand it out."""
    text = f"{asked.file} cannot be read where {asked.place} keeps it: the answer was {status}"
    return Refusal(Code.UNREACHABLE, f"{text}; try again", {"status": status, "repo": asked.repo})


def unreachable(refusal: Refusal, asked: Question) -> Refusal:
    """A fault of the network, with the way that works without one."""
    if refusal.code not in (Code.UNREACHABLE, Code.TIMEOUT):
        return refusal
    text = f"{refusal.message}; with {_OFFLINE} only what is here is used"
    details = {**refusal.details, "endpoint": asked.endpoint, "repo": asked.repo}
    return Refusal(refusal.code, text, details, refusal.retry_after_s)


def offline(asked: Question, cached: Sequence[str]) -> Refusal:
    """The hub may not be asked; cached are the paths of the repository that lie in its cache."""
    more = len(cached) - _SHOWN_MAX
    shown = ", ".join(cached[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
    text = f"the hub is not asked because {_OFFLINE} is set; of {asked.repo} its cache holds"
    details: dict[str, object] = {"repo": asked.repo, "cached": list(cached[:_SHOWN_MAX])}
    return Refusal(Code.UNREACHABLE, f"{text} {shown or 'nothing'}", details)


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """How long the hub asks us to wait, within reason."""
    text = headers.get("retry-after", "").strip()
    if not text.isascii() or not text.isdecimal():
        return None
    return min(int(text), _RETRY_MAX_S) if len(text) < 9 else _RETRY_MAX_S


def _too_many(headers: Mapping[str, str], asked: Question) -> Refusal:
    wait_s = retry_after_s(headers)
    when = "later" if wait_s is None else f"in {wait_s} s"
    help_ = "" if asked.has_token else ", or set HF_TOKEN, which raises the limit"
    text = f"the hub {asked.place} has had too many requests from here: try again {when}{help_}"
    return Refusal(Code.RATE, text, {"endpoint": asked.endpoint}, wait_s)


def _gated(asked: Question) -> Refusal:
    page = f"{asked.endpoint}/{asked.repo}"
    step = "with the account of HF_TOKEN" if asked.has_token else "and set HF_TOKEN"
    text = f"{asked.repo} is only for those who agreed to it: accept the terms at {page} {step}"
    return Refusal(Code.MODEL_GATED, text, {"repo": asked.repo, "page": page})


def _no_repository(asked: Question) -> Refusal:
    step = "HF_TOKEN may not read it" if asked.has_token else "HF_TOKEN must be set to read it"
    text = f"there is no repository {asked.repo} at {asked.place}, or it is private and {step}"
    return Refusal(Code.MODEL_NOT_FOUND, text, {"repo": asked.repo})


def _no_revision(asked: Question) -> Refusal:
    text = f"the repository {asked.repo} has no revision {asked.revision or 'main'}"
    return Refusal(Code.MODEL_NOT_FOUND, text, {"repo": asked.repo})


def _no_file(asked: Question) -> Refusal:
    at = f" at {asked.revision}" if asked.revision else ""
    text = f"the repository {asked.repo} has no file {asked.file}{at}"
    return Refusal(Code.MODEL_NOT_FOUND, text, {"repo": asked.repo})


def _bad_token(asked: Question) -> Refusal:
    text = f"the hub {asked.place} does not know the token in HF_TOKEN: make a new one, or unset it"
    return Refusal(Code.BAD_KEY, text, {"endpoint": asked.endpoint})


def _forbidden(asked: Question) -> Refusal:
    step = (
        "the token in HF_TOKEN has no right to it"
        if asked.has_token
        else "set HF_TOKEN to a token that may read it"
    )
    text = f"the hub {asked.place} does not let us read {asked.repo}: {step}"
    return Refusal(Code.SCOPE, text, {"repo": asked.repo})


_BY_CODE: Final[Mapping[str, Callable[[Question], Refusal]]] = {
    "RepoNotFound": _no_repository,
    "RevisionNotFound": _no_revision,
    "EntryNotFound": _no_file,
    "GatedRepo": _gated,
}
