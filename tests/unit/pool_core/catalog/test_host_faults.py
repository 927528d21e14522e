"""What an error of the disk means for whoever wanted a model."""

import errno
import os

import pytest

from orchestrator_core.errors import Code
from pool_core.catalog.host_faults import explain_host


@pytest.mark.parametrize(
    ("number", "code", "help_"),
    [
        (errno.ENOSPC, Code.DISK_LOW, "models delete --to-free"),
        (errno.EDQUOT, Code.DISK_LOW, "models delete --to-free"),
        (errno.EROFS, Code.CONFIG_INVALID, "models_folder"),
        (errno.EACCES, Code.CONFIG_INVALID, "models_folder"),
        (errno.ENOTDIR, Code.CONFIG_INVALID, "models_folder"),
        (errno.EIO, Code.INTERNAL, "Input/output error"),
    ],
)
def test_each_error_has_the_code_and_the_help_that_fit_it(
    number: int, code: Code, help_: str
) -> None:
    refusal = explain_host(OSError(number, os.strerror(number), "/data/models/blobs"))
    assert refusal.code is code
    assert "/data/models/blobs" in refusal.message
    assert help_ in refusal.message
