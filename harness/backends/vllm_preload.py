"""Importing this prepares a process for vLLM; it is the first module that a fork server preloads."""

from harness.backends.vllm import prepare_environment

prepare_environment()
