"""Launches of pipelines, and what sweeps have to do with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "launches",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("request", sa.String(length=16), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_launches")),
    )
    with op.batch_alter_table("launches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_launches_name"), ["name"], unique=False)

    with op.batch_alter_table("sweeps", schema=None) as batch_op:
        batch_op.add_column(sa.Column("launch_id", sa.Integer(), nullable=True))
        batch_op.add_column(
            sa.Column("request", sa.String(length=16), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("unseen", sa.JSON(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_sweeps_launch_id"), "launches", ["launch_id"], ["id"]
        )
    with op.batch_alter_table("sweeps", schema=None) as batch_op:
        batch_op.alter_column("request", server_default=None)  # was for the rows of before


def downgrade() -> None:
    with op.batch_alter_table("sweeps", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_sweeps_launch_id"), type_="foreignkey")
        batch_op.drop_column("unseen")
        batch_op.drop_column("request")
        batch_op.drop_column("launch_id")

    with op.batch_alter_table("launches", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_launches_name"))

    op.drop_table("launches")
