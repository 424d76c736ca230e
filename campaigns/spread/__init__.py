"""Work spread over ranks and processes, how it is stopped, and how they start."""
