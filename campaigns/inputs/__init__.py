"""Inputs of users: TOML files, their tables, plug-ins, and trajectories of several formats."""
