"""Tests: a folder per kind; each file mirrors a module, each name is a sentence."""
