"""Changes of tables by logical replication: the connection, and what `pgoutput` says on it as Arrow."""
