"""The request of a job: validated fields from the command line and YAML."""
