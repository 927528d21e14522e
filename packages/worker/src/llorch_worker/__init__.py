"""One process that holds one model and speaks llama-server's HTTP dialect."""
