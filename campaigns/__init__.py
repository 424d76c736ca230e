"""Campaigns: the command line, campaign files, optimisation loops, run records and reports."""
