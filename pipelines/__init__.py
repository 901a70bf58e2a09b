"""Ray Data composition: lazy functions from configuration to Dataset."""
