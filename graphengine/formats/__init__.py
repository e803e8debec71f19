"""What a check found, for other programs: JUnit XML, and files that are never half written."""
