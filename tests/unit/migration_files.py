"""Small directories of migrations in the layout of each tool, all of them making the same two tables and an index."""

from __future__ import annotations

from pathlib import Path

USERS = "CREATE TABLE users (id int PRIMARY KEY);\nINSERT INTO users VALUES (1);\n"
NO_USERS = "DROP TABLE users;\n"
POSTS = "CREATE TABLE posts (id int PRIMARY KEY, author int REFERENCES users);\n"
NO_POSTS = "DROP TABLE posts;\n"
INDEX = "CREATE INDEX CONCURRENTLY posts_author ON posts (author);\n"
NO_INDEX = "DROP INDEX CONCURRENTLY posts_author;\n"
SQITCH_PLAN = """\
%syntax-version=1.0.0
%project=blog

users 2026-01-01T10:00:00Z Ann <ann@example.org> # Makes users.
posts [users] 2026-01-02T10:00:00Z Ann <ann@example.org> # Makes posts.
@v1.0 2026-01-02T11:00:00Z Ann <ann@example.org> # First release.

author-index [posts users@v1.0] 2026-01-03T10:00:00Z Ann <ann@example.org>
"""


def _transaction(text: str) -> str:
    return f"BEGIN;\n{text}COMMIT;\n"


DIRECTORIES: dict[str, dict[str, str]] = {
    "flyway": {
        "V1__users.sql": USERS, "U1__users.sql": NO_USERS, "V1.9__posts.sql": POSTS, "U1.9__posts.sql": NO_POSTS,
        "V1.10__author_index.sql": INDEX, "U1_10__author_index.sql": NO_INDEX,
    },
    "golang-migrate": {
        "1_users.up.sql": USERS, "1_users.down.sql": NO_USERS, "2_posts.up.sql": POSTS, "2_posts.down.sql": NO_POSTS,
        "10_author_index.up.sql": INDEX, "10_author_index.down.sql": NO_INDEX,
    },
    "dbmate": {
        "20260101_users.sql": f"-- migrate:up\n{USERS}\n-- migrate:down\n{NO_USERS}",
        "20260102_posts.sql": f"-- migrate:up\n{POSTS}\n-- migrate:down\n{NO_POSTS}",
        "20260103_author_index.sql": f"-- migrate:up transaction:false\n{INDEX}\n-- migrate:down transaction:false\n{NO_INDEX}",
    },
    "goose": {
        "1_users.sql": f"-- +goose Up\n-- +goose StatementBegin\n{USERS}-- +goose StatementEnd\n-- +goose Down\n{NO_USERS}",
        "2_posts.sql": f"-- +goose Up\n{POSTS}-- +goose Down\n{NO_POSTS}",
        "10_author_index.sql": f"-- +goose NO TRANSACTION\n-- +goose Up\n{INDEX}-- +goose Down\n{NO_INDEX}",
    },
    "sqitch": {
        "sqitch.conf": "[core]\n\tengine = pg\n", "sqitch.plan": SQITCH_PLAN,
        "deploy/users.sql": _transaction(USERS), "revert/users.sql": _transaction(NO_USERS),
        "verify/users.sql": "BEGIN;\nSELECT id FROM users WHERE false;\nROLLBACK;\n",
        "deploy/posts.sql": _transaction(POSTS), "revert/posts.sql": _transaction(NO_POSTS),
        "verify/posts.sql": "-- nobody may see this row\nINSERT INTO posts VALUES (-1, 1);\nSELECT 1/count(*) FROM posts;\n",
        "deploy/author-index.sql": INDEX, "revert/author-index.sql": NO_INDEX,
    },
    "diesel": {
        "2026-01-01-100000_users/up.sql": USERS, "2026-01-01-100000_users/down.sql": NO_USERS,
        "2026-01-02-100000_posts/up.sql": POSTS, "2026-01-02-100000_posts/down.sql": NO_POSTS,
        "2026-01-03-100000_author_index/up.sql": INDEX, "2026-01-03-100000_author_index/down.sql": NO_INDEX,
        "2026-01-03-100000_author_index/metadata.toml": "run_in_transaction = false\n",
    },
    "prisma": {
        "migration_lock.toml": 'provider = "postgresql"\n',
        "20260101_users/migration.sql": USERS, "20260101_users/down.sql": NO_USERS,
        "20260102_posts/migration.sql": POSTS, "20260102_posts/down.sql": NO_POSTS,
        "20260103_author_index/migration.sql": INDEX, "20260103_author_index/down.sql": NO_INDEX,
    },
    "plain": {
        "001_users.sql": USERS, "001_users.down.sql": NO_USERS, "002_posts.sql": POSTS, "002_posts_undo.sql": NO_POSTS,
        "010_author_index.sql": INDEX, "010_author_index_down.sql": NO_INDEX,
    },
}  # fmt: skip


def put(parent: Path, files: dict[str, str], name: str = "migrations") -> Path:
    """Write the files below ``parent``/``name``, which is returned."""
    root = parent / name
    root.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return root
