"""Server-sent events without input or output: the codec and the splitter of the hot path."""
