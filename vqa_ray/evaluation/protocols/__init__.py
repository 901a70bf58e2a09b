"""The protocols of published benchmarks, a file each."""
