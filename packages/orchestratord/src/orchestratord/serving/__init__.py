"""The bytes: admission, the pumps that carry answers, and the dialects clients speak."""
