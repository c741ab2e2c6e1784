"""Alembic migrations of the schema.

To change a table, edit index/storage/schema.py, add versions/revision_N.py, and set `opening.REVISION` to N.
"""
