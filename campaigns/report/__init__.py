"""Pages and pictures as files: HTML, PNG."""
