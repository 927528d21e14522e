"""Where no lab of hosts can be built the reason is said, and the kernel's tables are read rightly."""

import os
import sys
from pathlib import Path

import pytest

from support.lab_kernel import Listener, listeners, missing_for_a_lab

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:23F0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 02004D0A:0016 01004D0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 3
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:2328 00000000000000000000000000000000:0000 0A
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="a lab is a thing of Linux")


@linux
def test_without_root_there_is_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert missing_for_a_lab() == "only root may make network namespaces"


@linux
def test_every_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    reason = str(missing_for_a_lab())
    assert reason.startswith("missing programs: unshare, nsenter, ip")


@linux
def test_root_in_name_only_is_no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {"unshare": "exit 1", "nsenter": "", "ip": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("support.lab_kernel.SSHD", Path(sys.executable))
    monkeypatch.setattr("support.lab_kernel.HOST_PYTHON", Path(sys.executable))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_for_a_lab() == "this root may not make network namespaces"


def test_listening_sockets_are_told_from_connected_ones(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(TABLE)
    found = list(listeners(table))
    assert found == [Listener("127.0.0.1", 9200), Listener("0.0.0.0", 22)]
    assert [it.is_loopback for it in found] == [True, False]


def test_an_address_of_the_new_kind_is_read_word_by_word(tmp_path: Path) -> None:
    table = tmp_path / "tcp6"
    table.write_text(TABLE_6)
    (found,) = listeners(table)
    assert (found, found.is_loopback) == (Listener("::1", 9000), True)
