"""The Ray that a job runs on: start a local one or join a cluster, and report its failures."""
