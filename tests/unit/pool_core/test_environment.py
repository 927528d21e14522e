from pool_core.workers.environment import is_marked, worker_environment

HOST = {
    "PATH": "/opt/bin",
    "HOME": "/users/u",
    "LANG": "de_DE.UTF-8",
    "LLORCH_HOME": "/srv/llorch",
    "HF_TOKEN": "hf_secret",
    "LLORCH_API_KEY": "secret",
    "HTTP_PROXY": "http://proxy",
    "LD_PRELOAD": "/x.so",
}


def test_passes_only_what_a_worker_needs() -> None:
    assert worker_environment(HOST, instance="i-1", worker_id="wrk_1") == {
        "PATH": "/opt/bin",
        "HOME": "/users/u",
        "LANG": "de_DE.UTF-8",
        "LLORCH_HOME": "/srv/llorch",
        "LLORCH_INSTANCE": "i-1",
        "LLORCH_WORKER": "wrk_1",
        "GGML_NO_BACKTRACE": "1",
    }


def test_an_empty_host_environment_still_has_a_path() -> None:
    env = worker_environment({"PATH": ""}, instance="i", worker_id="w")
    assert env["PATH"]
    assert "LLORCH_HOME" not in env


def test_knows_its_own_workers_again() -> None:
    env = worker_environment(HOST, instance="i-1", worker_id="wrk_1")
    assert is_marked(env, "i-1", "wrk_1")
    assert not is_marked(env, "i-1", "wrk_2")
    assert not is_marked(env, "i-2", "wrk_1")
    assert not is_marked({}, "i-1", "wrk_1")
