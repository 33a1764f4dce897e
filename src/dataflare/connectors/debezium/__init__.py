"""Changes of databases by embedded Debezium, which runs in a Java machine of its own."""
