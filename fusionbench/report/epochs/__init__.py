"""Sections about the course of training: what happened from epoch to epoch."""
