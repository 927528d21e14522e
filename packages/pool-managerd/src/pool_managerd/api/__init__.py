"""The HTTP edge of the daemon: who may call, what is answered, how a refusal looks."""
