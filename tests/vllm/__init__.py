"""Tests of `--engine vllm` with vLLM itself; `make test-vllm` runs them in an environment of their own."""
