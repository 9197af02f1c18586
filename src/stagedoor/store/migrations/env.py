"""Run the migrations on the connection that `store.migrate` opened."""

from alembic import context

from stagedoor.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # Both databases undo DDL with its transaction; SQLite once the transaction is begun in earnest (see store.sqlite).
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
