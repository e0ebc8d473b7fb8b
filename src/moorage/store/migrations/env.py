"""Alembic's entry: runs the migrations on the connection that ``moorage.store.migrate`` opened."""

from alembic import context

from moorage.store.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
