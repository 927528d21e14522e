"""Takes secrets out of texts and data before anybody else sees them; pure.

Secrets are known by their value, by their form, or by the name that stands in front of them. What
only looks random goes as well: a support bundle with too little in it is the smaller harm.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

__all__ = ["REDACTED", "Redactor"]

REDACTED: Final = "[redacted]"

_PEM: Final = re.compile(
    r"(?:-----BEGIN[^-\n]*PRIVATE KEY-----|\A)(?:(?!-----BEGIN)[\s\S])*?-----END[^-\n]*PRIVATE KEY-----"
)
_PEM_CUT: Final = re.compile(r"-----BEGIN[^-\n]*PRIVATE KEY-----[\s\S]*\Z")
_FORMS: Final = re.compile(
    r"(?:llo_|hf_|sk-|gh[opsru]_|github_pat_|xox[abp]-|AKIA)[A-Za-z0-9_-]{6,}"
)
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=:-]{3,}")
_USER: Final = re.compile(r"(://)[^/\s@\"']+@")
_QUERY: Final = re.compile(
    r"(?i)([?&][a-z0-9_.-]*(?:token|key|secret|signature|sig|password|credential)=)[^&\s\"']+"
)
_NAME: Final = (
    r"(?:token|secret|password|passwd|passphrase|credential|cookie|authorization|api[_-]?key|apikey"
    r"|(?:control|peer|private|admin|pool|worker|client|access|auth|secret)[_-]?key)"
)
# A bare `key` is one too, unless it names a key by its id.
_ASSIGNED: Final = re.compile(
    rf"""(?ix)
    (?P<name> (?: [\w.-]* {_NAME} | (?<![\w-]) (?: [\w.-]* [._-] )? key ) \\?["']? \s* (?: : | => | = ) \s* )
    (?! ["']? key_[0-9a-z]{{20,}} )
    (?P<value>
        \"\"\" [\s\S]*? \"\"\" | ''' [\s\S]*? ''' | " (?:\\.|[^"\\\n])* "? | ' [^'\n]* '?
        | \\" [^"\\\n]* (?:\\")?
        | \[ [^\]]* \]? | [^\s,;}}\]"'\[]+
    )
    """
)
# A command line, as words or as a list of quoted words.
_FLAG: Final = re.compile(
    rf"""(?ix) (?P<name> (?<![\w-]) -- (?: [\w-]* {_NAME} | (?:[\w-]*-)? key ) ["']? [\s,]+ ["']? ) (?! -- ) [^\s"',\]]+"""
)
_SECRET_KEY: Final = re.compile(rf"(?i)(?:.*{_NAME}|(?:.*[._-])?key)")
_KEY_ID: Final = re.compile(r"key_[0-9a-z]{20,}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])([0-9a-fA-F]{12})[0-9a-fA-F]{20,}(?![0-9A-Za-z])")
_LONG: Final = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
# Random letters and digits change their kind at six of ten places, words of a name at two.
_MIXED: Final = 0.34
_SHORTEST: Final = 6
_ADDRESS: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")


@dataclass(frozen=True, slots=True)
class Redactor:
    """What is known to be secret or private here.

    secrets go whatever they look like, home becomes ~, and aliases (of users, hosts) stand for
    names; with aliases, addresses of the network go as well.
    """

    home: str | None = None
    secrets: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    def text(self, text: str) -> str:
        """A text without what must not leave this machine."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST:
                text = text.replace(secret, REDACTED)
        text = _PEM_CUT.sub(REDACTED, _PEM.sub(REDACTED, text))
        text = _USER.sub(rf"\1{REDACTED}@", text)
        text = _SCHEME.sub(rf"\1 {REDACTED}", text)
        text = _QUERY.sub(rf"\1{REDACTED}", text)
        text = _FLAG.sub(rf"\g<name>{REDACTED}", text)
        text = _ASSIGNED.sub(rf'\g<name>"{REDACTED}"', text)
        text = _FORMS.sub(REDACTED, text)
        text = _HEX.sub(r"\1[cut]", text)
        text = _LONG.sub(_unless_a_name, text)
        return self._without_names(text)

    def data(self, data: object) -> object:
        """The same for what will be JSON: every text in it, and every field named like a secret."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            pairs = cast("Mapping[object, object]", data).items()
            return {self.text(str(key)): self._field(str(key), it) for key, it in pairs}
        if isinstance(data, list | tuple):
            return [self.data(item) for item in cast("Sequence[object]", data)]
        return data

    def _field(self, key: str, value: object) -> object:
        is_empty = value is None or isinstance(value, bool)
        if is_empty or not _SECRET_KEY.fullmatch(key):
            return self.data(value)
        if isinstance(value, str) and _KEY_ID.fullmatch(value):
            return value
        return REDACTED

    def _without_names(self, text: str) -> str:
        if self.home and self.home != "/":
            text = text.replace(self.home, "~")
        for name in sorted(self.aliases, key=len, reverse=True):
            text = re.sub(rf"(?<![\w]){re.escape(name)}(?![\w])", self.aliases[name], text)
        return _ADDRESS.sub(_unless_loopback, text) if self.aliases else text


def _unless_a_name(found: re.Match[str]) -> str:
    text = found[0]
    kinds = [_kind(char) for char in text]
    changes = sum(left != right for left, right in itertools.pairwise(kinds))
    is_mixed = {"upper", "lower"} <= set(kinds)
    return REDACTED if is_mixed and changes >= _MIXED * (len(text) - 1) else text


def _kind(char: str) -> str:
    if char.isdecimal():
        return "digit"
    return "upper" if char.isupper() else "lower" if char.islower() else "other"


def _unless_loopback(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith(("127.", "0.")) else "[address]"
