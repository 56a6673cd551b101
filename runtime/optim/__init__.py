"""From a summed gradient to new parameters. Everything is a pure function of arrays or of numbers.

flat      parameters and gradients as one vector, in the order in which backward finishes them
clip      the global norm, and the factor that divides by the tokens and clips
schedule  the learning rate of each committed step (no arrays)
adamw     AdamW with bias correction, fp32 moments, and fp32 masters of 16-bit parameters
"""
