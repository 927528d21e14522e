"""The settings file that a setup writes: every setting of the pool, explained and left as it is."""

from typing import Final

__all__ = ["SETTINGS_TEXT"]

SETTINGS_TEXT: Final = """\
# Settings of this host's pool. A line without its # takes effect when pool-managerd starts anew.
# Each setting is also read from the variable LLORCH_POOL_ and its name in capitals, which wins.

# Where pool-managerd listens; port 0 takes any free port.
# bind = "127.0.0.1:9200"

# Speak HTTPS only; without a word here, wherever other hosts can reach the address.
# tls = true

# The certificate chain and its private key (PEM); without them the pool makes its own.
# tls_cert = "/etc/llorch/pool.pem"
# tls_key = "/etc/llorch/pool.key"

# Listen for other hosts although the API speaks plain HTTP: keys can be read on the way.
# insecure_lan = false

# Names besides loopback and our own by which clients may call this host.
# allowed_hosts = ["pool.example"]

# The name of this host in the cluster; without it the hostname.
# pool_id = "attic"

# The orchestrator to register with. "local" finds the one of this installation; without it the
# pool works alone.
# orchestrator_url = "local"

# The file with the key for registering; without it state/local-pool.key.
# orchestrator_key_file = "/etc/llorch/pool-join.key"

# The certificates (PEM) that vouch for an https orchestrator on another host; without them the
# public authorities count.
# orchestrator_ca = "/etc/llorch/orchestrator.pem"

# The one certificate (PEM) that the orchestrator shows; `llorch-pool daemon join` writes this.
# orchestrator_pin = "/etc/llorch/orchestrator-own.pem"

# The worker to start; without it llorch-worker beside the daemon.
# worker_program = "/usr/local/bin/llorch-worker"

# Where models lie; without it data/models of this installation. A large disk of its own is good.
# models_folder = "/srv/models"

# Serve the models of this host to the other hosts of its orchestrator; only over HTTPS.
# share_models = false

# The checkout that llorch-pool git works on; without it the current folder's.
# git_repo = "/srv/checkout"

# How many seconds a worker may take to end before it is killed, where an order names no time.
# stop_grace_s = 10.0

# A running OpenAI-compatible server that serves as workers of this pool; one table for each.
# Without models, all that the server lists are offered.
# [[external]]
# name = "vllm"
# url = "http://127.0.0.1:8000/v1"
# key_file = "/etc/llorch/vllm.key"
# models = { big = "org/big-model" }
# max_concurrency = 4
# task = "generate"
"""
