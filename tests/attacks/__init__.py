"""Hostile files, generated: what a checkpoint must not do to the machine that reads it."""
