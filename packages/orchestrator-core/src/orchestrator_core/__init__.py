"""The words, the pure facts, the decisions and the typed clients of llama-orch."""
