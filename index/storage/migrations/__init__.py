"""Alembic's revisions of the tables.

To change a table, change index/storage/schema.py, add versions/revision_N.py, and raise `opening.REVISION`
to N.
"""
