"""Bulk API 2.0: jobs that read or write many rows, served from the file, never from memory.

A job's data lie in the store in pieces. Nothing runs in the background: each call to the server first carries on
with the jobs as far as they are due by its clock (`work.catch_up`), so that a moved clock moves them too.
"""
