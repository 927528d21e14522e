"""No secret of any form, at any place, is left in what a bundle says; names of models are."""

import base64
import json
import random
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.bundle.redaction import REDACTED, Redactor

PLAIN = Redactor()
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
URLSAFE = ALNUM + "-_"


def texts(alphabet: str, low: int, high: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=low, max_size=high)


PASSWORDS = texts(ALNUM + "!#$%&*+./:?@^~-_", 8, 40)
# How a secret stands in a text: (what is written, the secret in it).
FORMS: dict[str, st.SearchStrategy[tuple[str, str]]] = {
    "our key": st.tuples(st.sampled_from(["user", "admin", "pool"]), texts(URLSAFE, 20, 43)).map(
        lambda it: (f"llo_{it[0]}_{it[1]}", it[1])
    ),
    "hub token": texts(ALNUM, 20, 40).map(lambda it: (f"hf_{it}", it)),
    "bearer": texts(URLSAFE + ".=+/", 8, 60).map(lambda it: (f"Authorization: Bearer {it}", it)),
    "lower bearer": texts(URLSAFE, 8, 60).map(lambda it: (f"'authorization': 'bearer {it}'", it)),
    "toml": PASSWORDS.map(lambda it: (f'api_key = "{it}"', it)),
    "toml in lines": PASSWORDS.map(lambda it: (f'password = """\n{it}\n"""', it)),
    "json": PASSWORDS.map(lambda it: (json.dumps({"control_key": it, "port": 1}), it)),
    "shell": texts(URLSAFE, 8, 40).map(lambda it: (f"export HF_TOKEN={it}", it)),
    "bare key": texts(URLSAFE, 8, 40).map(lambda it: (f"key={it}", it)),
    "user of a url": texts(ALNUM, 8, 30).map(lambda it: (f"https://me:{it}@hub.example/x", it)),
    "query of a url": texts(URLSAFE, 8, 30).map(lambda it: (f"https://x/f?a=1&token={it}&b=2", it)),
    "command line": texts(URLSAFE, 8, 40)
    .filter(lambda it: not it.startswith("-"))
    .map(lambda it: (f"llorch-pool daemon join --token {it} --url x", it)),
    "list of words": PASSWORDS.filter(lambda it: not it.startswith("-")).map(
        lambda it: (f"argv {['--api-key', it]}", it)
    ),
    "quoted json": texts(URLSAFE, 8, 40).map(
        lambda it: (json.dumps(json.dumps({"token": it})), it)
    ),
    "hex": texts("0123456789abcdef", 40, 64).map(lambda it: (f"worker {it} started", it)),
}
AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
WORDS = st.sampled_from(["", "GET /v2/pools 200 ", "2026-01-01T00:00:00Z info ", "{ ", "\n", "  "])


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_secret_is_gone_from_any_line(form: str, data: st.DataObject) -> None:
    written, secret = data.draw(FORMS[form])
    before, after = data.draw(WORDS), data.draw(WORDS)
    shown = PLAIN.text(f"{before}{written} {after}")
    assert secret not in shown


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_secret_is_gone_from_any_place_of_a_document(form: str, data: st.DataObject) -> None:
    written, secret = data.draw(FORMS[form])
    document = {"lines": [{"text": data.draw(WORDS) + written}], "n": 3, written: None}
    shown = json.dumps(PLAIN.data(document), ensure_ascii=False)
    assert secret not in shown
    assert set(json.loads(shown)) >= {"lines", "n"}


def test_a_random_word_is_gone_without_any_name_before_it() -> None:
    dice = random.Random(6)
    for _ in range(500):
        drawn = dice.randbytes(32)
        for word in (
            base64.urlsafe_b64encode(drawn),
            base64.b64encode(drawn),
            drawn.hex().encode(),
        ):
            secret = word.decode().rstrip("=")
            assert secret not in PLAIN.text(f"pool mac told {secret} at last")


@given(secret=st.text(st.characters(codec="utf-8"), min_size=6, max_size=40), around=AROUND)
def test_a_value_that_is_known_is_gone_whatever_it_looks_like(secret: str, around: str) -> None:
    shown = Redactor(secrets=[secret]).text(f"{around}{secret}{around}")
    assert secret not in shown or secret in REDACTED


@given(name=st.sampled_from(["token", "api_key", "peer_key", "admin.key", "SECRET", "x-api-key"]),
       value=st.one_of(PASSWORDS, st.lists(PASSWORDS, min_size=1), st.integers(10**6, 10**9)))  # fmt: skip
def test_a_field_named_like_a_secret_is_gone_whatever_it_holds(name: str, value: object) -> None:
    assert PLAIN.data({name: value}) == {name: REDACTED}


def private_key() -> str:
    body = base64.encodebytes(secrets.token_bytes(300)).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}-----END OPENSSH PRIVATE KEY-----\n"


def test_a_private_key_is_gone_as_a_whole_and_in_parts() -> None:
    key = private_key()
    lines = key.splitlines()
    for cut in (key, "\n".join(lines[2:]), "\n".join(lines[:-2]), json.dumps(key)):
        shown = PLAIN.text(f"{cut}\n")
        assert all(line not in shown for line in lines[2:-2])
    assert PLAIN.text(f"before\n{key}after\n") == f"before\n{REDACTED}\nafter\n"


@pytest.mark.parametrize(
    "text",
    [
        "Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M is ready",
        "hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
        "job_01j9z3ntk8e1w0v5c6x7y8z9ab dispatched to wrk_01j9z3ntk8e1w0v5c6x7y8z9ac",
        '{"max_tokens": 4096, "tokens_out": 12, "prompt_tokens": 3}',
        'orchestrator_key_file = "/etc/llorch/pool-join.key"',
        "key_01j9z3ntk8e1w0v5c6x7y8z9ab opens user for laptop",
        "/usr/lib/python3.11/site-packages/llorch_ctl/diagnosis/daemon_settings.py",
        "http://127.0.0.1:8080/v2/pools",
        "2026-01-01T00:00:00.000Z",
    ],
)
def test_what_helps_to_find_a_fault_stays(text: str) -> None:
    assert PLAIN.text(text) == text


def test_the_beginning_of_a_hash_stays() -> None:
    digest = "0123456789ab" + "c" * 52
    assert PLAIN.text(f"sha256 {digest}") == "sha256 0123456789ab[cut]"


def test_the_home_folder_is_a_tilde() -> None:
    assert Redactor(home="/people/ada").text("/people/ada/.config/llorch") == "~/.config/llorch"


def test_without_names_nobody_and_no_machine_is_named() -> None:
    names = Redactor(aliases={"ada": "user", "attic.lan": "host-1", "attic": "host-1"})
    told = names.text("ada@attic.lan (10.1.2.3) is no adapter; attic is; 127.0.0.1 stays")
    assert told == "user@host-1 ([address]) is no adapter; host-1 is; 127.0.0.1 stays"
    assert names.data({"attic": {"user": "ada"}}) == {"host-1": {"user": "user"}}
