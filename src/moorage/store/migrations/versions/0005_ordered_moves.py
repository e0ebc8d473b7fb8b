"""What moves that were ordered know besides: their order, their destination, their deadline."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = "moorage_moves"
_INDEX = "moorage_moves_due_at_idx"


def upgrade() -> None:
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    inspector = sa.inspect(op.get_bind())
    known = {column["name"] for column in inspector.get_columns(_TABLE)}
    for column in _columns():
        if column.name not in known:
            op.add_column(_TABLE, column)
    if _INDEX not in {index["name"] for index in inspector.get_indexes(_TABLE)}:
        op.create_index(_INDEX, _TABLE, ["due_at"])


def _columns() -> Iterator[sa.Column[Any]]:
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(sa.dialects.mysql.LONGTEXT(), "mysql", "mariadb")
    yield sa.Column("last_step", sa.String(20))
    yield sa.Column("step_generation", sa.Integer)
    yield sa.Column("digest", sa.String(64))
    yield sa.Column("request", long_text)
    yield sa.Column("destination", long_text)
    yield sa.Column("alternates", long_text)
    yield sa.Column("tried", long_text)
    yield sa.Column("deadline", moment)
    yield sa.Column("due_at", moment)
    yield sa.Column("outcome", long_text)
