"""Running a data set, its records, statistics and report."""
