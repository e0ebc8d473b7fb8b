"""What heals changed, so that they can be undone."""

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(sa.dialects.mysql.LONGTEXT(), "mysql", "mariadb")
    table = sa.Table(
        "moorage_undo",
        sa.MetaData(),
        sa.Column("id", number, primary_key=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("record", long_text, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("undone_at", moment),
        sa.Index("moorage_undo_subject_idx", "subject", "id"),
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    table.create(op.get_bind(), checkfirst=True)
    for index in table.indexes:
        index.create(op.get_bind(), checkfirst=True)
