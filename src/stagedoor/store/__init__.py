"""The ports on SQL and in memory; files that stand beside the database. All SQL lives here."""
