"""Reads across models, one module for each noun."""
