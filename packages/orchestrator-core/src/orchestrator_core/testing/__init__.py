"""Fake time and builders for the tests of every package."""
