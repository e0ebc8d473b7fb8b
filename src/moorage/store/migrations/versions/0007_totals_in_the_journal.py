"""How a change leaves the running totals, beside the change in the journal."""

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLE = "moorage_journal"


def upgrade() -> None:
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)}
    if "totals" not in known:
        long_text = sa.Text().with_variant(sa.dialects.mysql.LONGTEXT(), "mysql", "mariadb")
        op.add_column(_TABLE, sa.Column("totals", long_text))
