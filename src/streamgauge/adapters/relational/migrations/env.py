"""Run by Alembic, never imported: hands it the connection that `migrate` opened, and with it the transaction.

It configures no logging, which belongs to whoever started the process.
"""

from alembic import context

from streamgauge.adapters.relational.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
