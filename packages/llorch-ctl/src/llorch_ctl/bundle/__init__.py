"""What a person hands over who asks for help: collected, redacted, packed."""
