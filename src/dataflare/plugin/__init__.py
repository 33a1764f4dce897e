"""Plugins: users' code in WebAssembly, sandboxed, with limits; decision 0046 tells how they are run."""
