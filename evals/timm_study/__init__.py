"""Paper 000: 491 timm models, their alignment with people and what they are good at."""
