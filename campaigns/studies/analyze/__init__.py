"""Analysis: a row of properties for each frame of trajectories."""
