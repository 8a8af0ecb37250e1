"""The whole product under faults: one seed is one small world (see README.md)."""
