from enum import Enum

import pytest

from llorch_worker.engine.embedded import sees_gpu


class Type(Enum):
    GGML_BACKEND_DEVICE_TYPE_CPU = 0
    GGML_BACKEND_DEVICE_TYPE_GPU = 1
    GGML_BACKEND_DEVICE_TYPE_IGPU = 2
    GGML_BACKEND_DEVICE_TYPE_ACCEL = 3


@pytest.mark.parametrize(
    ("types", "seen"),
    [
        ((), False),
        ((Type.GGML_BACKEND_DEVICE_TYPE_CPU, Type.GGML_BACKEND_DEVICE_TYPE_ACCEL), False),
        ((Type.GGML_BACKEND_DEVICE_TYPE_CPU, Type.GGML_BACKEND_DEVICE_TYPE_GPU), True),
        ((Type.GGML_BACKEND_DEVICE_TYPE_IGPU,), True),
    ],
)
def test_only_a_gpu_is_a_gpu(types: tuple[Type, ...], *, seen: bool) -> None:
    assert sees_gpu([{"name": "any", "type": kind} for kind in types]) is seen
