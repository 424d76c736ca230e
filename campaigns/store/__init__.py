"""Files that a run or an analysis keeps on disk: whole files, checksummed parts, frames, tables."""
