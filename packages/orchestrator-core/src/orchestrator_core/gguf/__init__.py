"""GGUF files without input or output: bytes of a header in, facts about the model out."""
