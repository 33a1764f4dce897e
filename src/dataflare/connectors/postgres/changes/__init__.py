"""Changes of tables as they are logged: publication and slot, the first reading of tables, the stream behind it."""
