"""The doctor: compares PostgreSQL with Temporal, says what differs, and mends what can be mended."""
