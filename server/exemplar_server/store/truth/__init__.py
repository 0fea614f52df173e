"""The truth: galleries, classes and exemplars in a database. Only this package knows SQLite and PostgreSQL."""
