"""What `alignet.distill` is made of: batches in, one compiled step, metrics and checkpoints out."""
