"""What the clips are worth: the paper's metrics, the networks they need, and what was measured before."""
