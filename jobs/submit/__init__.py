"""`vqa-ray submit`: a command on a cluster, by the Jobs API of Ray."""
