"""Cleaning: which ended jobs go, and their deletion."""
