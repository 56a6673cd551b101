"""Code generated from the .proto files beside it; tests/architecture/test_generated_code.py regenerates and compares."""
