"""The BLIP family: BLIP, BLIP-2 and InstructBLIP on one generative engine."""
