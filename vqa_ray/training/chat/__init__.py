"""Training of chat models: conversations as tokens, the loss of their answers, adapters."""
