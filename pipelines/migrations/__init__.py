"""The journal's schema, step by step; run by code when a journal is opened that is older than it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def upgrade(con: Connection) -> None:
    """Bring the journal behind this connection to the newest schema, in the transaction that is open."""
    from alembic.config import Config  # 0.3 s, needed only when there is something to do
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    script = ScriptDirectory.from_config(config)

    def steps(revision: object, _context: object) -> list[object]:
        return list(script._upgrade_revs("head", revision))  # type: ignore[arg-type]

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=con, target_metadata=None, transactional_ddl=True)
        environment.run_migrations()
