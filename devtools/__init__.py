"""What helps to develop Duraflow and is in no distribution: used by tests, examples and benchmarks."""
