"""What authors and the project test with: suites, a seeded runtime, faults as data."""
