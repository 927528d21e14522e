"""The engine behind the worker: what it needs, what it must not be told, how it is started."""
